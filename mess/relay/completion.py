"""What happens to events that no step has more to do with."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mess.event import Event
from mess.relay.window import Window
from mess.telemetry.observer import PipelineObserver


class Completion:
    """Finishes the events of one stream in one pipeline: the stream's window advances."""

    def __init__(self, window: Window, observer: PipelineObserver) -> None:
        self._window = window
        self._observer = observer

    def finish(self, events: Sequence[Event], *, delivered: bool) -> None:
        """No step has more to do with `events`: they went through all steps (`delivered`), were dropped by one, or were
        given up."""
        self._window.done(events)
        self._observer.finished(events, delivered=delivered)


class Completions(dict[str, Completion]):
    """Those of one stream by pipeline, made when first asked for. `observer` gives a pipeline's observer."""

    def __init__(self, window: Window, observer: Callable[[str], PipelineObserver]) -> None:
        super().__init__()
        self._window = window
        self._observer = observer

    def __missing__(self, pipeline: str) -> Completion:
        made = self[pipeline] = Completion(self._window, self._observer(pipeline))
        return made
