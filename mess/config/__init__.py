"""What the user asked for: the config file, read, checked and resolved."""
