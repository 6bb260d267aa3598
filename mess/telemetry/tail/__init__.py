"""Live tails: what becomes of events, for whoever watches at present. Start reading at `tail`."""
