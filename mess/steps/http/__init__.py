"""The http step: events as webhooks. Start reading at `step`."""
