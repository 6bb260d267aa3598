"""The brokers that the queue step publishes to, one file each, found by the url's scheme."""

from __future__ import annotations

SECTIONS = {"kafka": "kafka", "kafkas": "kafka", "redis": "redis", "rediss": "redis"}
"""The schemes that a url may have, each with the name of the broker's own section of options."""
