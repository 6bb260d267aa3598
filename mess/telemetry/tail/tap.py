"""Observers that tell live tails about events, and cost nothing while nobody watches.

Each has its methods as attributes: those of another observer (the metrics') while nobody watches, and its own ones
otherwise. So a call takes as long as one of the other observer, without any check.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Protocol

from mess.errors import DeliveryError
from mess.event import Event
from mess.telemetry.observer import ForwardingStep, PipelineObserver, StepObserver, StreamObserver


class Watch(Protocol):
    """What is told about events while somebody watches."""

    def read(self, stream: str, events: Sequence[Event]) -> None:
        """A stream has read these events."""

    def attempted(self, step: str, events: Sequence[Event], seconds: float) -> None:
        """A step was given these events."""

    def passed(self, step: str, events: Sequence[Event]) -> None:
        """A step passed these events on."""

    def failed(self, step: str, events: Sequence[Event], error: DeliveryError) -> None:
        """An attempt at these events failed."""

    def given_up(self, step: str, events: Sequence[Event], error: DeliveryError, *, stored: bool) -> None:
        """A step gave these events up."""

    def finished(self, pipeline: str, events: Sequence[Event], *, delivered: bool) -> None:
        """These events have left their pipeline."""


class _Tap:
    __slots__ = ()

    _inner: Any
    _watched: ClassVar[tuple[str, ...]]
    """The methods that tell about events; each has a counterpart with an underscore."""

    def switch(self, *, on: bool) -> None:
        """Whether somebody watches."""
        for method in self._watched:
            setattr(self, method, getattr(self, f"_{method}") if on else getattr(self._inner, method))


class StreamTap(_Tap, StreamObserver):
    """Follows a stream."""

    _watched = ("read",)
    __slots__ = ("__weakref__", "_inner", "_name", "_watch", *_watched)

    def __init__(self, inner: StreamObserver, name: str, watch: Watch) -> None:
        self._inner, self._name, self._watch = inner, name, watch

    def _read(self, events: Sequence[Event]) -> None:
        self._inner.read(events)
        self._watch.read(self._name, events)


class PipelineTap(_Tap, PipelineObserver):
    """Follows a pipeline."""

    _watched = ("finished",)
    __slots__ = ("__weakref__", "_inner", "_name", "_watch", *_watched)

    def __init__(self, inner: PipelineObserver, name: str, watch: Watch) -> None:
        self._inner, self._name, self._watch = inner, name, watch

    def _finished(self, events: Sequence[Event], *, delivered: bool) -> None:
        self._inner.finished(events, delivered=delivered)
        self._watch.finished(self._name, events, delivered=delivered)


class StepTap(_Tap, ForwardingStep):
    """Follows a step."""

    _watched = ("attempted", "delivered", "failed", "given_up")
    __slots__ = ("__weakref__", "_name", "_watch")

    def __init__(self, inner: StepObserver, name: str, watch: Watch) -> None:
        super().__init__(inner)
        self._name, self._watch = name, watch

    def _attempted(self, events: Sequence[Event], seconds: float) -> None:
        self._inner.attempted(events, seconds)
        self._watch.attempted(self._name, events, seconds)

    def _delivered(self, events: Sequence[Event]) -> None:
        self._inner.delivered(events)
        self._watch.passed(self._name, events)

    def _failed(self, events: Sequence[Event], error: DeliveryError) -> None:
        self._inner.failed(events, error)
        self._watch.failed(self._name, events, error)

    def _given_up(self, events: Sequence[Event], error: DeliveryError, *, stored: bool) -> None:
        self._inner.given_up(events, error, stored=stored)
        self._watch.given_up(self._name, events, error, stored=stored)
