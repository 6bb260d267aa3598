"""What the options of many components share: durations and sizes, TLS, secrets, backoff. Start reading at `values`."""
