"""What the admin server shows of a relay, and how it acts on it; implemented by the relay."""

from __future__ import annotations

from typing import Any, Protocol

from mess.relay.reload_result import ReloadResult
from mess.state.store import StateStore


class View(Protocol):
    """A relay as its operators see it. Every method is fast, makes no network requests and never raises."""

    @property
    def discreet(self) -> View:
        """The same without what may repeat parts of documents: their keys, and what sinks said."""
        ...

    @property
    def changed(self) -> int:
        """How many events are done since the start."""
        ...

    def status(self) -> dict[str, Any]:
        """The complete status, as JSON; `name` is the relay's name and `version` is MESS's."""
        ...

    def role(self) -> dict[str, Any] | None:
        """Which of several processes with the relay's name is active, as JSON; None without `ha`."""
        ...

    def problems(self) -> list[str]:
        """Why the relay is not ready, and how to fix it: problems of its streams and its state. Empty if it is
        ready."""
        ...

    def sink_problems(self) -> list[str]:
        """The sinks that are not available, and why."""
        ...

    def warnings(self) -> list[str]:
        """Other things that need attention although the relay is ready."""
        ...

    def metrics(self) -> bytes:
        """The metrics in Prometheus' text format."""
        ...


class Controls(Protocol):
    """Acts on a relay."""

    @property
    def store(self) -> StateStore | None:
        """The relay's state; None before it is open, and after it was closed."""
        ...

    def stop(self) -> None:
        """Stop the relay gracefully."""
        ...

    async def reload(self) -> ReloadResult:
        """Read the config again, and replace what has changed; with a mistake in it, everything stays as it is."""
        ...
