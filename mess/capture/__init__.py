"""From MongoDB to batches of events: which change streams to open, where each begins, and how to read them.

Start reading at `plan` (config to streams) and `stream` (one change stream).
"""
