"""Makes events of records that MESS, Debezium or MongoDB's Kafka connector has written. Start reading at `decoder`."""
