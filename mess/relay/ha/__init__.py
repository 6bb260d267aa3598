"""Which of several processes with one name is active. Start reading at `lease_holder`."""
