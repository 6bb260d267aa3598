"""What happens to events that no step has more to do with."""

from __future__ import annotations

from collections.abc import Sequence

from mess.event import Event
from mess.relay.window import Window
from mess.telemetry.metrics import CountFinished


class Completion:
    """Finishes the events of one stream in one pipeline: the stream's window advances, and they are counted."""

    def __init__(self, window: Window, count: CountFinished) -> None:
        self._window = window
        self._count = count

    def finish(self, events: Sequence[Event], *, delivered: bool) -> None:
        """No step has more to do with `events`: they went through all steps (`delivered`), were dropped by one, or were
        given up."""
        self._window.done(events)
        self._count(events, delivered)
