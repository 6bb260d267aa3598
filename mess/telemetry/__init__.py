"""What the relay reports about itself: logs and metrics, without secrets. Start reading at `logging` and `metrics`."""
