"""The interface of a state store."""

from __future__ import annotations

import asyncio
import logging
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from bson import Timestamp

from mess.errors import StateError, Superseded
from mess.state.backfills import Backfill, BackfillProgress
from mess.state.ha_lease import HaLease
from mess.state.lease import Lease, Presence
from mess.state.pauses import Pause, Target
from mess.state.records import Checkpoint, DeadLetter, Gap, Listed, Pointer, Positions, Wanted

__all__ = [
    "PAGE",
    "Backfill",
    "BackfillProgress",
    "Checkpoint",
    "DeadLetter",
    "Gap",
    "Listed",
    "Pause",
    "Pointer",
    "Positions",
    "StateStore",
    "Target",
    "Wanted",
]

# telemetry is beside this layer, not below it; it also handles warnings of the standard library's logging.
_log = logging.getLogger("mess.state")

EVERYTHING = Wanted()
"""Selects all dead letters."""
PAGE = 500
"""How many dead letters are read or deleted at a time."""
_NONE_MOVED: Mapping[str, BackfillProgress] = MappingProxyType({})


class StateStore(ABC):
    """Stores one relay's checkpoints, dead letters, gaps, backfills and pauses.

    Of several processes with the relay's name, only the one that called `take_over` last may write checkpoints: its
    number is the *epoch*, and each write is conditional on it. Every method raises StateError, with its cause chained,
    if the storage fails for longer than a failover takes.
    """

    def __init__(self, relay: str) -> None:
        self.relay = relay
        self._epoch: int | None = None
        self._arrangement: str | None = None
        self._writing = asyncio.Lock()
        self._coverage: list[Any] = []
        self._saved: dict[str, Checkpoint] = {}
        self._known_gaps: dict[str, Gap] = {}
        self._deferred_gaps: dict[str, Gap] = {}
        self.closed_gaps: set[str] = set()
        """The ids of gaps that a backfill repairs. What is lost from now on is another gap: it will not be repaired by
        documents that were read before."""

    @property
    def epoch(self) -> int:
        """The epoch of this process. Raises StateError before `take_over`."""
        if self._epoch is None:
            raise StateError("checkpoints cannot be written before `take_over`")
        return self._epoch

    @abstractmethod
    async def open(self, *, lasting: bool = True) -> None:
        """Open the store, and make sure that state can be written.

        Without `lasting`, nothing is created or changed, and the store can only be read. Raises NotPermitted if
        MongoDB's user may not write, StateError otherwise; both say how to fix it.
        """

    @property
    @abstractmethod
    def lease(self) -> Lease:
        """The lease that determines who runs the relay. `take_over` ignores it; `Relay.run` acquires it first."""

    @abstractmethod
    def ha_lease(self, timeout: float, database: Any = None) -> HaLease:
        """The lease under `ha`, which answers or fails within `timeout` seconds. A store in MongoDB asks `database`,
        of a client that nothing else can keep waiting. Close it in the end."""

    async def alive(self) -> Presence | None:
        """The process that runs under the relay's name now, or None. Changes nothing."""
        return await self.lease.alive()

    async def free_bytes(self) -> int | None:
        """How many free bytes the storage has; None if unknown."""
        return None

    async def verify(self) -> None:
        """Raises StateError if the storage is not the one that was opened: a deleted or replaced file. Fast enough to
        be called every second."""
        return

    @abstractmethod
    async def take_over(self) -> int:
        """Raise the relay's epoch above every one that was ever stored with its positions, and return it. From here on,
        older processes cannot write checkpoints."""

    @abstractmethod
    async def epochs(self) -> tuple[int, int]:
        """The epoch of the relay's record, and the newest that was stored with its positions; 0 if there is none.

        They differ after one of the two was removed, or restored from a backup. Changes nothing.
        """

    @abstractmethod
    async def positions(self) -> Positions:
        """The stored progress of the relay. Before writing, read it after `take_over`.

        Raises DamagedState for a record that cannot be decoded.
        """

    async def checkpoints(self) -> list[Checkpoint]:
        """Only the streams' checkpoints. Raises DamagedState."""
        return list((await self.positions()).checkpoints)

    async def arrange(self, coverage: list[Any], checkpoints: Sequence[Checkpoint]) -> None:
        """Replace all stored progress by a coverage map and the checkpoints of its streams.

        Even if a crash leaves this incomplete, the coverage map alone determines how far every namespace is done.
        Raises Superseded, with nothing stored, if another process has taken over.
        """
        async with self._writing:
            await self._rearrange(coverage, checkpoints)

    async def _rearrange(self, coverage: list[Any], checkpoints: Sequence[Checkpoint]) -> None:
        await self._record_deferred_gaps()
        arrangement = secrets.token_hex(8)
        await self._arrange(arrangement, coverage, checkpoints)
        self._arrangement, self._coverage = arrangement, coverage
        self._saved = {checkpoint.stream: checkpoint for checkpoint in checkpoints}

    async def save(
        self, checkpoints: Sequence[Checkpoint], backfills: Mapping[str, BackfillProgress] = _NONE_MOVED
    ) -> None:
        """Store these checkpoints durably, in one write; those of other streams do not change. Only after `arrange`.

        Gaps that were deferred are stored before. The progress of `backfills`, by id, is stored with the checkpoints or
        after them, never before. That of a removed one is dropped.

        If the state was removed, or restored from a backup, while the relay was running, it is stored again. Raises
        Superseded, with nothing stored, if another process has taken over.
        """
        async with self._writing:
            if self._arrangement is None:
                raise StateError("checkpoints cannot be written before `arrange`")
            await self._record_deferred_gaps()
            saved = {**self._saved, **{checkpoint.stream: checkpoint for checkpoint in checkpoints}}
            if not await self._save(self._arrangement, checkpoints, backfills):
                _log.warning(
                    "the state of relay %s was removed or replaced while it was running; storing it again", self.relay
                )
                await self._rearrange(self._coverage, list(saved.values()))
                if backfills:
                    await self._save(self._arrangement, (), backfills)
            self._saved = saved

    @abstractmethod
    async def remove_position(self, stream: str) -> bool:
        """Remove only a stream's checkpoint, even if it is damaged; False if there was none."""

    @abstractmethod
    async def _arrange(self, arrangement: str, coverage: list[Any], checkpoints: Sequence[Checkpoint]) -> None: ...

    @abstractmethod
    async def _save(
        self, arrangement: str, checkpoints: Sequence[Checkpoint], backfills: Mapping[str, BackfillProgress]
    ) -> bool:
        """Store checkpoints of an arrangement, and the progress of backfills; False, with nothing stored, if that
        arrangement is not stored."""

    @abstractmethod
    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Store these dead letters durably.

        There is one letter per event: if it is given up again, the newest version replaces everything except `time`.
        """

    async def dead_letters(self, wanted: Wanted = EVERYTHING, *, limit: int | None = None) -> AsyncIterator[DeadLetter]:
        """The wanted dead letters, newest first, without their events, bodies and histories (`dead_letter` returns
        them)."""
        left = limit
        last: Listed | None = None
        # Use pages rather than one cursor: a reader may take hours between two letters.
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = await self.page(wanted, last, size)
            for letter in page:
                last = letter.listed
                yield letter
            if len(page) < size:
                return
            left = None if left is None else left - size

    @abstractmethod
    async def page(self, wanted: Wanted, after: Listed | None, size: int) -> list[DeadLetter]:
        """The `size` wanted letters that are listed behind `after`, newest first, without events and bodies."""

    @abstractmethod
    async def pointers(self, wanted: Wanted = EVERYTHING) -> list[Pointer]:
        """The wanted dead letters, in the order in which their changes were committed.

        Letters of a MESS version that did not store that order come first, ordered by time. All are read at once; each
        takes about 400 bytes.
        """

    @abstractmethod
    async def dead_letter_places(self) -> dict[tuple[str, str], int]:
        """How many dead letters stopped at each pipeline and step."""

    @classmethod
    def places_at_rest(cls, place: str, relay: str) -> Mapping[tuple[str, str], int]:
        """The same for the state of `relay` at the `place` that a URL names, which is neither opened nor changed.

        Empty if that is not possible. Letters of the last moments may be missing. Raises nothing.
        """
        return {}

    @abstractmethod
    async def dead_letter(self, id: str) -> DeadLetter | None:  # noqa: A002 - the field's name
        """The complete dead letter of the event with this id; None if there is none. Raises DamagedLetter."""

    @abstractmethod
    async def replace_unchanged(self, letters: Sequence[DeadLetter]) -> int:
        """Update these letters, each only if it is still the version that was read (by `dead_letter`).

        A letter that was deleted or replaced since then does not change: a running relay may have given up the event
        again, at another step. Returns how many were replaced.
        """

    @abstractmethod
    async def delete_unchanged(self, letters: Sequence[DeadLetter]) -> int:
        """Delete these dead letters, except those replaced since they were read (by `dead_letter`).

        Returns how many were deleted.
        """

    @abstractmethod
    async def delete_dead_letters(self, wanted: Wanted) -> int:
        """Delete the wanted dead letters; returns how many there were."""

    async def delete_pointed(
        self, wanted: Wanted, pointers: Sequence[Pointer], deleted: Callable[[int], None] = lambda count: None
    ) -> int:
        """Delete those of the wanted dead letters that these pointers name, and none that have been added since.

        Calls `deleted` with the number of pointers that it has come past. Returns how many letters there were.
        """
        found = 0
        for start in range(0, len(pointers), PAGE):
            part = tuple(pointer.id for pointer in pointers[start : start + PAGE])
            found += await self.delete_dead_letters(replace(wanted, ids=part))
            deleted(len(part))
        return found

    @abstractmethod
    async def count_dead_letters(self, wanted: Wanted = EVERYTHING) -> int:
        """The number of wanted dead letters."""

    @abstractmethod
    async def prune(self, max_age: float | None, max_count: int | None) -> int:
        """Delete dead letters older than `max_age` seconds and all but the newest `max_count`; returns how many.

        Backfills that ended longer than `max_age` seconds ago are deleted too. None means no limit.
        """

    async def record_gap(self, gap: Gap) -> None:
        """Store a gap, replacing the one with its id, if there is one."""
        await self.record_gaps([gap])

    async def record_gaps(self, gaps: Sequence[Gap]) -> None:
        """Store several gaps, each as `record_gap` does."""
        await self._record_gaps(gaps)
        self._known_gaps.update({gap.id: gap for gap in gaps})

    def defer_gap(self, gap: Gap) -> None:
        """Have a gap stored before the next position is, so that none can pass what was not delivered."""
        self._deferred_gaps[gap.id] = gap

    async def record_deferred_gaps(self) -> None:
        """Store the gaps that were deferred now, for a relay whose positions are kept elsewhere."""
        if self._deferred_gaps:
            async with self._writing:
                await self._record_deferred_gaps()

    @property
    def has_deferred_gaps(self) -> bool:
        """Whether gaps wait for the next `save`."""
        return bool(self._deferred_gaps)

    @property
    def known_gaps(self) -> list[Gap]:
        """The gaps that this process has read or recorded, oldest first, without asking the storage."""
        return sorted({**self._known_gaps, **self._deferred_gaps}.values(), key=lambda gap: gap.time)

    async def gaps(self) -> list[Gap]:
        """The stored gaps, oldest first."""
        found = await self._read_gaps()
        self._known_gaps = {gap.id: gap for gap in found}
        return found

    async def remove_gap(self, gap: Gap) -> None:
        """Remove a gap's record."""
        await self._remove_gap(gap)
        self._known_gaps.pop(gap.id, None)

    async def _record_deferred_gaps(self) -> None:
        gaps = dict(self._deferred_gaps)
        if not gaps:
            return
        await self.record_gaps(list(gaps.values()))
        # Others may have grown meanwhile.
        self._deferred_gaps = {name: gap for name, gap in self._deferred_gaps.items() if gaps.get(name) is not gap}

    @abstractmethod
    async def _record_gaps(self, gaps: Sequence[Gap]) -> None: ...

    @abstractmethod
    async def _read_gaps(self) -> list[Gap]: ...

    @abstractmethod
    async def _remove_gap(self, gap: Gap) -> None: ...

    async def open_gap(self, gap: Gap) -> Gap:
        """Record a gap that stays open until its stream continues; returns the stored one.

        If the time at which a stream is to continue is lost as well, its gap goes on: it begins where the loss began.
        """
        for known in sorted(await self.gaps(), key=lambda each: not each.open):
            ended_here = known.until is not None and known.until == gap.since and known.reason == gap.reason
            if known.stream == gap.stream and known.kind == gap.kind and (known.open or ended_here):
                return await self._continued(known, gap)
        await self.record_gap(gap)
        return gap

    async def _continued(self, known: Gap, found: Gap) -> Gap:
        since = known.since
        if not set(found.namespaces) <= set(known.namespaces):
            since = min((each for each in (known.since, found.since) if each is not None), default=None)
        namespaces = tuple(dict.fromkeys([*known.namespaces, *found.namespaces]))
        resume = None if known.resume == found.since else known.resume
        gap = replace(known, since=since, until=None, namespaces=namespaces, open=True, resume=resume)
        if found.unannounced:
            gap = replace(gap, unannounced=namespaces)
        if gap != known:
            await self.record_gap(gap)
        if gap.id != known.id:
            await self.remove_gap(known)
        return gap

    async def close_gap(self, gap: Gap, until: Timestamp) -> None:
        """Record that the stream of an open gap continues at `until`."""
        await self.record_gap(replace(gap, until=until, open=False, resume=None))
        await self.remove_gap(gap)

    @abstractmethod
    async def add_backfill(self, backfill: Backfill) -> bool:
        """Store a new backfill; False, with nothing changed, if one with its id exists."""

    @abstractmethod
    async def backfills(self, *, active: bool = False) -> list[Backfill]:
        """The backfills, oldest first; with `active`, only those that have not ended. Raises DamagedState for a
        record that cannot be decoded."""

    @abstractmethod
    async def want_backfill(self, id: str, wanted: str) -> Backfill | None:  # noqa: A002 - the field's name
        """Store an operator's wish (running, paused or cancelled) as `Backfill.wanting` applies it; the record after
        it, None if there is none with this id. Raises DamagedState."""

    @abstractmethod
    async def pauses(self) -> list[Pause]:
        """The pauses, oldest first. Raises DamagedState for a record that cannot be decoded."""

    @abstractmethod
    async def pause(self, pause: Pause) -> None:
        """Store a pause; one with the same target stays as it is."""

    @abstractmethod
    async def resume(self, target: Target) -> bool:
        """Remove the pause with this target; False if there was none."""

    @abstractmethod
    async def close(self) -> None:
        """Release what `open` acquired."""


def superseded(relay: str, epoch: int, newer: int) -> Superseded:
    """The error for a process with this epoch that finds a newer one."""
    return Superseded(
        f"another process has taken over the name {relay!r} (epoch {newer}, this one had {epoch}). To run two relays, "
        "give each its own `name`"
    )
