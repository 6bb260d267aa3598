"""What the relay tells of itself: its log and its metrics."""
