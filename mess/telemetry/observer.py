"""The interface of observers: metrics, and whatever else follows events on their way through a relay.

All methods are called in the event loop, once for a batch or an attempt. They must return quickly and not raise. Those
of the base classes do nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from mess.errors import DeliveryError
from mess.event import Event


class StreamObserver:
    """Follows one stream."""

    __slots__ = ()

    def read(self, events: Sequence[Event]) -> None:
        """The stream has read these events."""


class PipelineObserver:
    """Follows the events of one pipeline."""

    __slots__ = ()

    def finished(self, events: Sequence[Event], *, delivered: bool) -> None:
        """These events have left the pipeline: they went through all steps (`delivered`), or they were dropped,
        skipped, or stored as dead letters."""


class StepObserver:
    """Follows the work of one step."""

    __slots__ = ()

    def attempted(self, events: Sequence[Event], seconds: float) -> None:
        """The step was given these events, and took `seconds`."""

    def delivered(self, events: Sequence[Event]) -> None:
        """The step passed these events on."""

    def dropped(self, count: int) -> None:
        """The step dropped this many events."""

    def bypassed(self, count: int) -> None:
        """The step had nothing to do for this many events, which bypassed it."""

    def failed(self, events: Sequence[Event], error: DeliveryError) -> None:
        """An attempt at these events failed."""

    def retried(self, events: Sequence[Event]) -> None:
        """The next attempt at these events begins."""

    def given_up(self, events: Sequence[Event], error: DeliveryError, *, stored: bool) -> None:
        """These events were given up; `stored` is whether they are dead letters now."""

    def breaker_changed(self, error: DeliveryError | None, destination: str | None = None) -> None:
        """From now on deliveries are held back because of `error`; None if they continue.

        This concerns one destination, whose text may contain secrets, or the whole sink if it is None.
        """


class ForwardingStep(StepObserver):
    """Passes everything on to `inner`, except what its `own` methods take. That costs nothing: its methods are
    attributes, namely the methods of `inner`."""

    _METHODS = (
        "attempted",
        "delivered",
        "dropped",
        "bypassed",
        "failed",
        "retried",
        "given_up",
        "breaker_changed",
    )
    __slots__ = ("_inner", *_METHODS)

    def __init__(self, inner: StepObserver, **own: Callable[..., None]) -> None:
        self._inner = inner
        for method in self._METHODS:
            setattr(self, method, own.get(method) or getattr(inner, method))


class Observer(Protocol):
    """Provides the observers of a relay's parts; each is asked for once, before anything flows."""

    def stream(self, name: str) -> StreamObserver:
        """The observer of a stream."""

    def pipeline(self, name: str) -> PipelineObserver:
        """The observer of a pipeline."""

    def step(self, pipeline: str, step: str) -> StepObserver:
        """The observer of a step, by the name that it has in its pipeline."""
