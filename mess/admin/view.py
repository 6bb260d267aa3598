"""What the admin server shows; the relay fills it in."""

from __future__ import annotations

from typing import Any, Protocol


class View(Protocol):
    """A relay as its operators see it. Every method is quick, asks nothing over the network and never raises."""

    @property
    def changed(self) -> int:
        """How many events are done with since the start."""
        ...

    def status(self) -> dict[str, Any]:
        """Everything there is to know, as JSON; `name` is the relay's name and `version` that of MESS."""
        ...

    def problems(self) -> list[str]:
        """Why the relay is not ready, and how to fix it: its streams and its state. Empty when it is ready."""
        ...

    def sink_problems(self) -> list[str]:
        """Which sinks cannot be delivered to at present, and why."""
        ...

    def warnings(self) -> list[str]:
        """What else needs attention although the relay is ready."""
        ...

    def metrics(self) -> bytes:
        """The metrics in Prometheus' text format."""
        ...
