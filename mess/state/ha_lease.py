"""The lease under `ha`: a record that its holder changes regularly, so that others can tell that it is alive."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from mess.state.instance import Instance

_MOST = 2**62
"""More renewals than any process lives for; the count has to remain what the storage can increase."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A process that asks the holder to hand the lease over, and its own lease in seconds."""

    instance: Instance
    lease: float


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """Who has the lease, as it is stored.

    `count` grows with every renewal, and `lease` is how many seconds the holder's lease lasts; both are None for a
    process without `ha`, and if they were edited by hand. `since` is when it took the lease, by the clock of the server
    or host that keeps the state. `stored` is the record as it is stored, for `HaLease.claim`. `ended` is whether its
    process has ended, as a lock that ends with it shows; None if there is no such proof.
    """

    instance: Instance
    stored: Any
    since: datetime | None = None
    count: int | None = None
    lease: float | None = None
    wish: Wish | None = None
    beat: Any = None
    ended: bool | None = None

    @property
    def sign_of_life(self) -> object:
        """Something that differs after each renewal, and after a change of the holder."""
        return self.instance.id, self.count, self.beat

    def has_ended(self, here: Instance) -> bool:
        """Whether the holder's process is known to have ended, as seen from an instance in this process."""
        return self.instance.has_ended(here) if self.ended is None else self.ended


class HaLease(ABC):
    """The record of a relay's lease.

    Every method asks the storage once: what failed may have been applied all the same, and only the caller knows since
    when. Answers come within about the time that it was opened with. Raises StateError.
    """

    erased = False
    """Whether the last `read` found that somebody has deleted the relay's record, which a holder that is alive writes
    again. Whoever releases the lease leaves the record."""

    def __init__(self, relay: str) -> None:
        self._relay = relay

    @abstractmethod
    async def read(self) -> LeaseRecord | None:
        """The record; None if nobody has the lease. What it shows is durable."""

    @abstractmethod
    async def claim(self, instance: Instance, seconds: float, replacing: LeaseRecord | None) -> bool:
        """Replace the record that was read by one of `instance`, with the count 0; False if it has changed since."""

    @abstractmethod
    async def renew(self, instance: Instance, count: int) -> LeaseRecord | None:
        """Increase the count, if `instance` has the lease with this count. Returns the record after that; None if
        nothing was changed."""

    @abstractmethod
    async def ask_for_handover(self, wish: Wish, holder: LeaseRecord) -> None:
        """Store a wish in the record of this holder, which sees it when it renews its lease."""

    @abstractmethod
    async def release(self, instance: Instance, heir: Wish | None = None) -> None:
        """Give the lease to `heir`, with the count 0, or to whoever wants it. If `instance` does not have it, withdraw
        its wish, if there is one."""

    async def close(self) -> None:
        """Release what was opened for it."""
        return


def instance_of(fields: Mapping[str, Any]) -> Instance:
    """An instance from its stored fields. Raises KeyError, TypeError or ValueError."""
    try:
        pid, started = int(fields.get("pid", 0)), int(fields.get("started", 0))
    except OverflowError as error:
        raise ValueError("an infinite pid") from error
    return Instance(
        id=str(fields["id"]),
        host=str(fields.get("host", "?")),
        pid=pid,
        boot=str(fields.get("boot", "")),
        namespace=str(fields.get("namespace", "")),
        started=started,
        container=str(fields.get("container", "")),
    )


def beats_of(count: Any, lease: Any) -> tuple[int, float] | tuple[None, None]:
    """The count and the lease of a record; None if they are not what a process writes."""
    if not isinstance(count, int) or not 0 <= count < _MOST or not isinstance(lease, (int, float)):
        return None, None
    return (count, lease) if 0 < lease < math.inf else (None, None)


def wish_of(fields: Any) -> Wish | None:
    """A wish from its stored fields; None if there is none, or if it cannot be decoded."""
    try:
        lease = float(fields["lease"])
        return Wish(instance_of(fields), lease) if 0 < lease < math.inf else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def fields_of(wish: Wish) -> dict[str, Any]:
    """The inverse of `wish_of`."""
    return {**asdict(wish.instance), "lease": wish.lease}
