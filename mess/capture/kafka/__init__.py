"""Reads change events from Kafka, as a member of a consumer group. Start reading at `record`."""
