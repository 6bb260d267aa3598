"""`format: event`: the event's body alone."""

from __future__ import annotations

from mess.event import Event
from mess.formats.base import Envelope, FormatOptions, Write


class EventBody(FormatOptions):
    """The event's body."""

    def envelope(self, write: Write, relay: str) -> Envelope:
        """See `FormatOptions`."""

        def encode(event: Event) -> bytes:
            return write(event.body)

        return Envelope(encode)
