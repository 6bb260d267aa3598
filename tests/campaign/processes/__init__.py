"""Faults of several processes of one relay: standbys that take over, and workers that share Kafka's partitions."""
