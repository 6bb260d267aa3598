"""The port behind which state is kept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence

from mess.errors import StateError, Superseded
from mess.state.lease import Lease, Presence
from mess.state.records import Checkpoint, DeadLetter, Gap, Pointer, Wanted

__all__ = ["MAX_GAPS", "PAGE", "Checkpoint", "DeadLetter", "Gap", "Pointer", "StateStore", "Wanted"]

MAX_GAPS = 1000
"""How many gaps are kept per relay."""
EVERYTHING = Wanted()
"""Asks for all dead letters."""
PAGE = 500
"""How many dead letters a listing reads at a time."""


class StateStore(ABC):
    """Where one relay keeps its checkpoints, dead letters and gaps.

    Of several processes with the relay's name only the one that has called `take_over` last may write checkpoints: its
    number is the *epoch*, and each write is conditional on it. Every method raises StateError, with its cause chained,
    when the place of storage fails for longer than a failover takes.
    """

    def __init__(self, relay: str) -> None:
        self.relay = relay
        self._epoch: int | None = None

    @property
    def epoch(self) -> int:
        """The epoch that this process has taken over with. Raises StateError before `take_over`."""
        if self._epoch is None:
            raise StateError("checkpoints cannot be written before `take_over`")
        return self._epoch

    @abstractmethod
    async def open(self) -> None:
        """Get ready, and make sure that state can be written.

        Raises NotPermitted where MongoDB's user may not write, StateError for all else; both say how to mend it.
        """

    @property
    @abstractmethod
    def lease(self) -> Lease:
        """Who runs the relay. `take_over` does not ask it; `Relay.run` acquires it first."""

    async def alive(self) -> Presence | None:
        """The process that runs under the relay's name now, None when none does. It changes nothing."""
        return await self.lease.alive()

    async def verify(self) -> None:
        """Raises StateError when what the state is kept in is not the one that was opened: a deleted or replaced
        file. Quick, and made to be called every second."""
        return

    @abstractmethod
    async def take_over(self) -> int:
        """Raise the relay's epoch and return it; from here on, older processes can write no checkpoint."""

    @abstractmethod
    async def checkpoints(self) -> list[Checkpoint]:
        """All stored checkpoints, by stream. To write on from them, read them after `take_over`."""

    @abstractmethod
    async def save(self, checkpoints: Sequence[Checkpoint]) -> None:
        """Store all these checkpoints durably, in one write.

        Raises Superseded, with nothing stored, when another process has taken over.
        """

    async def set_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Store a checkpoint on a user's behalf.

        A process that has not taken over does so first, so that a relay running meanwhile stops as Superseded instead
        of overwriting what the user asked for.
        """
        await self._ensure_epoch()
        await self.save([checkpoint])

    async def delete_checkpoint(self, stream: str) -> bool:
        """Forget a stream's checkpoint, so that it begins at `start`; False when there was none.

        A process that has not taken over does so first, see `set_checkpoint`. Raises Superseded when another process
        has taken over since.
        """
        await self._ensure_epoch()
        return await self._delete_checkpoint(stream)

    async def reset(self) -> int:
        """Forget all checkpoints, as `delete_checkpoint` does; returns how many there were."""
        await self._ensure_epoch()
        return sum([await self._delete_checkpoint(checkpoint.stream) for checkpoint in await self.checkpoints()])

    async def _ensure_epoch(self) -> None:
        if self._epoch is None:
            await self.take_over()

    @abstractmethod
    async def _delete_checkpoint(self, stream: str) -> bool: ...

    @abstractmethod
    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """Keep these dead letters durably.

        One letter is kept per event: when it is given up on again, the latest word replaces all but `time`.
        """

    async def dead_letters(self, wanted: Wanted = EVERYTHING, *, limit: int | None = None) -> AsyncIterator[DeadLetter]:
        """The dead letters that are wanted, newest first, without their events, bodies and histories (`dead_letter` has
        them)."""
        left = limit
        last: DeadLetter | None = None
        # By pages rather than by one cursor: a reader may take hours between two letters.
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            page = await self._page(wanted, last, size)
            for last in page:
                yield last
            if len(page) < size:
                return
            left = None if left is None else left - size

    @abstractmethod
    async def _page(self, wanted: Wanted, after: DeadLetter | None, size: int) -> list[DeadLetter]:
        """The `size` letters wanted that follow `after`, newest first, without events and bodies."""

    @abstractmethod
    async def pointers(self, wanted: Wanted = EVERYTHING) -> list[Pointer]:
        """The dead letters that are wanted, in the order in which their changes were committed.

        Letters of a MESS that did not store that order come first, in the order of their times. All are read at once;
        each takes some 200 bytes.
        """

    @abstractmethod
    async def dead_letter(self, id: str) -> DeadLetter | None:  # noqa: A002 - the field's name
        """The dead letter of the event with this id, whole; None when there is none. Raises DamagedLetter."""

    @abstractmethod
    async def replace_unchanged(self, letters: Sequence[DeadLetter]) -> int:
        """Keep a later word about these events, each in the place of the version that the letter was read as.

        A letter that was deleted or replaced since it was read (by `dead_letter`) stays as it is: a relay that runs
        meanwhile may have given up on the event again, at another step. Returns how many were replaced.
        """

    @abstractmethod
    async def delete_unchanged(self, letters: Sequence[DeadLetter]) -> int:
        """Delete these dead letters, but for those replaced since they were read (by `dead_letter`).

        Returns how many were deleted.
        """

    @abstractmethod
    async def delete_dead_letters(self, wanted: Wanted) -> int:
        """Delete the dead letters that are wanted; returns how many there were."""

    @abstractmethod
    async def count_dead_letters(self, wanted: Wanted = EVERYTHING) -> int:
        """How many dead letters are wanted."""

    @abstractmethod
    async def prune(self, max_age: float | None, max_count: int | None) -> int:
        """Delete dead letters older than `max_age` seconds and all but the newest `max_count`; returns how many.

        None sets no bound.
        """

    @abstractmethod
    async def record_gap(self, gap: Gap) -> None:
        """Keep word of a gap; the newest thousand are kept."""

    @abstractmethod
    async def gaps(self) -> list[Gap]:
        """The recorded gaps, oldest first."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of what `open` took."""

    def _superseded(self, epoch: int) -> Superseded:
        return Superseded(
            f"another process has taken over the name {self.relay!r} (epoch {epoch}, this one had {self.epoch}). "
            "Of two relays that shall both run, each needs a `name` of its own"
        )
