"""JS-style config files: the data in them, without running JavaScript. Start reading at `file`."""
