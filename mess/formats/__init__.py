"""What a body looks like: BSON as JSON, envelopes, templates and paths. Start reading at `envelope`."""
