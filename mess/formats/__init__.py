"""The representation of bodies: BSON as JSON, envelopes, templates and paths. Start reading at `envelope`."""
