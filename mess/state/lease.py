"""The lease: of several processes with one relay name, only one runs at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime

from mess.errors import Superseded
from mess.state.instance import Instance

BEAT_SECONDS = 3.0
"""The interval at which a running process reports that it is alive."""
ALIVE_SECONDS = 15.0
"""How long after its last beat, by the server's clock, a process counts as alive."""
OBSERVED_SECONDS = 4.0
"""How long an overdue beat is watched before its process counts as lost: while MongoDB was away, no process could
beat."""


@dataclass(frozen=True, slots=True)
class Presence:
    """A process that runs under a relay's name.

    `since` is when it started and `age` is how many seconds ago its last beat was, both by the clock of the server that
    keeps the state. `age` is None if a file lock, which ends with its process, replaces the beats.
    """

    instance: Instance
    since: datetime | None = None
    age: float | None = None

    def __str__(self) -> str:
        since = f", running since {self.since:%Y-%m-%d %H:%M:%S} UTC" if self.since else ""
        beat = f", last seen {_ago(self.age)}" if self.age is not None else ""
        return f"{self.instance}{since}{beat}"


def _ago(seconds: float) -> str:
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(0.0, seconds):.0f} s ago"


class Lease(ABC):
    """The right to run a relay.

    It prevents a second process from starting by mistake. Only `StateStore.take_over` guarantees that no two processes
    write checkpoints. Every method raises StateError if the storage fails; only `alive` and `acquire` retry for as long
    as a failover takes.
    """

    def __init__(self, relay: str) -> None:
        self._relay = relay

    @abstractmethod
    async def alive(self) -> Presence | None:
        """The process that runs the relay now, or None. Changes nothing."""

    @abstractmethod
    async def acquire(
        self, instance: Instance, *, force: bool = False, observe: float = OBSERVED_SECONDS
    ) -> Presence | None:
        """Take the lease if it is free, or if its holder is lost or in the same process as `instance`; with `force` in
        any case.

        Returns None if `instance` has it now, otherwise the holder: call again after about half a second. An overdue
        beat is watched for `observe` seconds of such calls before its process counts as lost.
        """

    @abstractmethod
    async def renew(self, instance: Instance) -> None:
        """Report that `instance` is alive. Raises Superseded if another instance has taken the lease."""

    @abstractmethod
    async def release(self, instance: Instance) -> None:
        """Let the next process start immediately. Does nothing if another instance has the lease."""

    def _superseded(self, by: Presence) -> Superseded:
        return Superseded(
            f"another process has taken over the name {self._relay!r}: {by}. "
            "To run two relays, give each its own `name`"
        )
