"""JS-style config files, read as data without running any JavaScript. Start reading at `file`."""
