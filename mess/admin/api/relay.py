"""What the API needs of a relay; implemented by the relay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from mess.admin.api import models
from mess.capture.plan import StreamPlan
from mess.config.load import Loaded
from mess.relay.reload_result import ReloadResult
from mess.relay.status import Parts, RelayStatus
from mess.relay.stored_counts import StoredCounts
from mess.state.records import Pointer
from mess.telemetry.recent import Recent
from mess.telemetry.tail.tail import Tail


class LetterReplays(Protocol):
    """Replays of dead letters inside the relay's process, one at a time."""

    @property
    def all(self) -> Sequence[models.Replay]:
        """Those that run, and the last ones that ran, newest first."""

    @property
    def running(self) -> bool:
        """Whether one is running."""

    async def ways(self, pointers: Sequence[Pointer]) -> Mapping[str, int]:
        """How many of these letters would go through which pipeline; those that cannot be replayed under an empty
        name. Raises ConfigError, StateError."""

    def start(self, pointers: Sequence[Pointer]) -> str:
        """Begin to replay these; the replay's id. Raises ConfigError if the config's steps cannot be built."""


class ApiRelay(Parts, Protocol):
    """A relay that can be inspected and controlled."""

    @property
    def loaded(self) -> Loaded:
        """The config in force."""

    @property
    def plans(self) -> Sequence[StreamPlan]:
        """The plans of its streams."""

    @property
    def stored(self) -> StoredCounts | None:
        """How much its state holds."""

    @property
    def replays(self) -> LetterReplays | None:
        """Replays of dead letters; None before the state is open."""

    @property
    def status(self) -> RelayStatus:
        """What is known about it."""

    tail: Tail
    recent: Recent

    async def try_event(self, event: Mapping[str, Any], pipeline: str | None) -> models.Tried:
        """Put an event, in Extended JSON, through a pipeline without sending anything. Users' functions really run.

        Raises ConfigError for an event or a pipeline that does not fit.
        """

    async def reload(self) -> ReloadResult:
        """Read the config again and apply what has changed. Never raises: the result says what is wrong."""
