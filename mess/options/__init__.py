"""Options shared by many components: durations and sizes, TLS, secrets, backoff. Start reading at `base`."""
