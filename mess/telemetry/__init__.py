"""The relay's logs and metrics, without secrets. Start reading at `logging` and `metrics`."""
