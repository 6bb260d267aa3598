"""A relay that reads Kafka as a member of a consumer group. Start reading at `worker`."""
