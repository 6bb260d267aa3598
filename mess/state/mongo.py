"""State in MongoDB; by default in the watched deployment itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from bson.codec_options import CodecOptions
from pymongo import ReadPreference, WriteConcern
from pymongo.read_concern import ReadConcern

from mess.errors import NotPermitted, StateError
from mess.state.backfills import Backfill, BackfillProgress
from mess.state.failover import is_refusal, persist
from mess.state.ha_lease import HaLease
from mess.state.lease import Lease
from mess.state.mongo_backfills import MongoBackfills
from mess.state.mongo_gaps import MongoGaps
from mess.state.mongo_ha_lease import MongoHaLease
from mess.state.mongo_lease import MongoLease
from mess.state.mongo_letters import MongoLetters
from mess.state.mongo_pauses import MongoPauses
from mess.state.mongo_positions import MongoPositions
from mess.state.pauses import Pause, Target
from mess.state.store import EVERYTHING, Checkpoint, DeadLetter, Gap, Listed, Pointer, Positions, StateStore, Wanted

T = TypeVar("T")

_WRITE_TIMEOUT_MS = 10_000


class MongoStore(StateStore):
    """State in a database, in the collections `backfills`, `checkpoints`, `dead_letters`, `dead_letter_chunks`, `gaps`,
    `pauses` and `relays`.

    `database` is an async handle of PyMongo or Motor; the caller connects and closes its client. All writes use
    majority write concern. `retry_for` is how many seconds a failing write is retried, so that an election does not
    stop the relay.
    """

    def __init__(self, database: Any, relay: str, *, retry_for: float = 60.0) -> None:
        super().__init__(relay)
        self._retry_for = retry_for
        self._name = database.name
        # Regardless of the url: state must be read where it was written, and survive the loss of a primary.
        options = {
            "codec_options": CodecOptions(tz_aware=True),
            "read_preference": ReadPreference.PRIMARY,
            "read_concern": ReadConcern("majority"),
            "write_concern": WriteConcern("majority", wtimeout=_WRITE_TIMEOUT_MS),
        }
        self._relays = database.get_collection("relays", **options)
        self._lease = MongoLease(database, relay, retry_for)
        gaps = database.get_collection("gaps", **options)
        self._gaps = MongoGaps(gaps, self._relays, relay, retry_for, f"{database.name}.gaps")
        self._positions = MongoPositions(
            self._relays,
            database.get_collection("checkpoints", **options),
            relay,
            retry_for,
            f"{database.name}.checkpoints",
        )
        self._backfills = MongoBackfills(
            database.get_collection("backfills", **options), relay, retry_for, f"{database.name}.backfills"
        )
        pauses = database.get_collection("pauses", **options)
        self._pauses = MongoPauses(pauses, relay, retry_for, f"{database.name}.pauses")
        self._letters = MongoLetters(
            database.get_collection("dead_letters", **options),
            database.get_collection("dead_letter_chunks", **options),
            relay,
            retry_for,
        )

    async def open(self, *, lasting: bool = True) -> None:
        async def prove_writable() -> None:
            # A command that only reads, or that runs beside a relay, leaves nothing behind after this no-op write.
            await self._relays.update_one({"_id": self.relay, "epoch": {"$lt": 0}}, {"$set": {"epoch": 0}})

        try:
            await self._persist(f"write state in the database {self._name}", prove_writable)
        except StateError as error:
            if is_refusal(error.__cause__):
                raise NotPermitted(str(error)) from error
            raise
        if lasting:
            await self._letters.open()

    @property
    def lease(self) -> Lease:
        return self._lease

    def ha_lease(self, timeout: float, database: Any = None) -> HaLease:
        return MongoHaLease(database, self.relay, timeout)

    async def take_over(self) -> int:
        epoch = await self._positions.take_over()
        await self._backfills.take_over(epoch)
        self._epoch = epoch
        return epoch

    async def epochs(self) -> tuple[int, int]:
        return await self._positions.epochs()

    async def positions(self) -> Positions:
        return await self._positions.read()

    async def remove_position(self, stream: str) -> bool:
        return await self._positions.remove(self.epoch, stream)

    async def _arrange(self, arrangement: str, coverage: list[Any], checkpoints: Sequence[Checkpoint]) -> None:
        await self._positions.arrange(self.epoch, arrangement, coverage, checkpoints)

    async def _save(
        self, arrangement: str, checkpoints: Sequence[Checkpoint], backfills: Mapping[str, BackfillProgress]
    ) -> bool:
        saved = await self._positions.save(self.epoch, arrangement, checkpoints)
        # Afterwards: after a crash in between, documents are sent again rather than never.
        if saved and backfills:
            await self._backfills.save(self.epoch, backfills)
        return saved

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        await self._letters.add(letters)

    async def page(self, wanted: Wanted, after: Listed | None, size: int) -> list[DeadLetter]:
        return await self._letters.page(wanted, after, size)

    async def dead_letter(self, id: str) -> DeadLetter | None:  # noqa: A002
        return await self._letters.get(id)

    async def pointers(self, wanted: Wanted = EVERYTHING) -> list[Pointer]:
        return await self._letters.pointers(wanted)

    async def dead_letter_places(self) -> dict[tuple[str, str], int]:
        return await self._letters.places()

    async def replace_unchanged(self, letters: Sequence[DeadLetter]) -> int:
        return await self._letters.replace(letters)

    async def delete_unchanged(self, letters: Sequence[DeadLetter]) -> int:
        return await self._letters.delete_unchanged(letters)

    async def delete_dead_letters(self, wanted: Wanted) -> int:
        return await self._letters.delete(wanted)

    async def count_dead_letters(self, wanted: Wanted = EVERYTHING) -> int:
        return await self._letters.count(wanted)

    async def prune(self, max_age: float | None, max_count: int | None) -> int:
        if max_age is not None:
            await self._backfills.prune(max_age)
        return await self._letters.prune(max_age, max_count)

    async def _record_gaps(self, gaps: Sequence[Gap]) -> None:
        await self._gaps.record(gaps)

    async def _remove_gap(self, gap: Gap) -> None:
        await self._gaps.remove(gap)

    async def _read_gaps(self) -> list[Gap]:
        return await self._gaps.read()

    async def add_backfill(self, backfill: Backfill) -> bool:
        return await self._backfills.add(backfill)

    async def backfills(self, *, active: bool = False) -> list[Backfill]:
        return await self._backfills.read(active=active)

    async def want_backfill(self, id: str, wanted: str) -> Backfill | None:  # noqa: A002
        return await self._backfills.want(id, wanted)

    async def pauses(self) -> list[Pause]:
        return await self._pauses.read()

    async def pause(self, pause: Pause) -> None:
        await self._pauses.add(pause)

    async def resume(self, target: Target) -> bool:
        return await self._pauses.remove(target)

    async def close(self) -> None:
        """Does nothing: the caller closes the client."""

    async def _persist(self, what: str, operation: Callable[[], Awaitable[T]]) -> T:
        return await persist(what, operation, self._retry_for)
