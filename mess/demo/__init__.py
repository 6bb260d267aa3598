"""`mess demo`: a MongoDB, a shop that writes to it, a relay and a receiver. Start reading at `run`."""
