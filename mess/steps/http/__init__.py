"""The http step: sends events as webhooks. Start reading at `step`."""
