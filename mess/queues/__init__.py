"""The brokers that the queue step publishes to, one file each, found by the url's scheme."""
