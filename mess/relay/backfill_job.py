"""One collection's existing documents on their way into a stream."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial

from bson import Timestamp

from mess.capture.existing_documents import CannotRead, Chunk, ExistingDocuments, ReadFailure
from mess.capture.merged_source import Placed
from mess.capture.source import Batch
from mess.commands import command
from mess.event import Event, Namespace, Position
from mess.options.backoff import backoff
from mess.relay.chunk_size import ChunkSize
from mess.state.backfills import Backfill
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_AGAIN_FIRST, _AGAIN_CAP = 0.2, 5.0  # seconds
_STALLED = 5.0  # seconds
_SINKS = "its documents wait for a step; /readyz?sinks=true says for which, and why"
_PLACE = "waiting for the next place in its stream"
_TURN = "its stream sends one after another; first "
_ENDING = frozenset({"drop", "rename", "dropDatabase"})


class BackfillJob:
    """Reads the documents of one backfill, chunk by chunk, and follows how far they are done.

    A chunk takes at most `max_bytes` bytes of BSON. `since` is the cluster time from which documents may be read, None
    while they may not. `changed` is called when another chunk may be wanted; `count` counts the documents that are
    done. `not_permitted` adds to an error what the user is to be granted.
    """

    def __init__(
        self,
        record: Backfill,
        documents: ExistingDocuments,
        *,
        average: int | None = None,
        max_bytes: int = 1024 * 1024,
        since: Callable[[], Timestamp | None],
        changed: Callable[[], None],
        count: Callable[[int], None],
        not_permitted: Callable[[Exception], str] = str,
    ) -> None:
        self.record = record
        self.progress = replace(record.progress, state="waiting", reason=_PLACE)
        self.paused = record.wanted == "paused"
        self._documents = documents
        self._max_bytes = max_bytes
        self._since = since
        self._changed = changed
        self._count = count
        self._not_permitted = not_permitted
        self._size = ChunkSize(max_bytes, average=average, rate=record.rate)
        self._after = record.progress.last
        self._in_flight = 0
        self._moved_at = 0.0
        self._seems_last = False
        self.read_all = False  # or no more is to be read
        self._not_before = 0.0
        self._failures = 0

    @property
    def ended(self) -> bool:
        """Whether nothing of it remains to be done."""
        return self.progress.ended is not None

    @property
    def wanted(self) -> bool:
        """Whether its next chunk is to be read now."""
        return (
            not (self.paused or self.read_all or self.ended)
            # One chunk at a time: changes would wait for both, and it is hardly faster. But what follows a chunk with
            # fewer documents than asked for is probably nothing.
            and (not self._in_flight or self._seems_last)
            and time.monotonic() >= self._not_before
        )

    @property
    def in_flight(self) -> bool:
        """Whether documents of it are on their way."""
        return self._in_flight > 0

    async def read(self, at: Timestamp) -> Placed | None:
        """See `mess.capture.merged_source.Chunks`."""
        since, after = self._since(), self._after
        if since is None or at < since:
            self._wait("waiting for its stream, which has to catch up first", 0.5)
            return None
        began = time.monotonic()
        try:
            asked = self._size.most
            chunk = await self._documents.read(at, after, asked, self._max_bytes)
        except CannotRead as error:
            if not self.ended:
                self._failed(error)
            return None
        self._seems_last = chunk.count < asked and not self._in_flight
        return partial(self._placed, chunk, after, time.monotonic() - began)

    def _placed(self, chunk: Chunk, after: bytes | None, reading: float, place: Position) -> Batch | None:
        if self.ended or after != self._after:  # meanwhile
            return None
        self._begun()
        self._size.was_read(chunk.count, chunk.size)
        if self.record.rate is not None:
            self._pause(chunk.count / self.record.rate)
        self._after = chunk.last or self._after
        self.read_all = chunk.last is None
        self._in_flight += 1
        self._moved_at = time.monotonic()
        for event in chunk.events:
            event.place, event.backfill, event.only = place, self.record.id, self.record.step
        reached = partial(self._reached, chunk, time.monotonic() - reading)
        return Batch(chunk.events, place, chunk.unreadable, reached=reached)

    def passed(self, event: Event) -> None:
        """A change is before the next chunk: it may end the backfill, unless it is older than the request."""
        if event.operation not in _ENDING or self.read_all or self._is_older(event):
            return
        namespace = self.record.namespace
        to = event.change.get("to") or {}
        target = Namespace(to.get("db", ""), to.get("coll", ""))
        changes = "its further changes are in the stream"
        if target == namespace:
            again = command(f"backfill start {shlex.quote(str(namespace))}")
            self.end("cancelled", f"another collection was renamed to it meanwhile; `{again}` sends its documents")
        elif event.namespace == namespace and event.operation == "rename":
            again = command(f"backfill start {shlex.quote(str(target))}")
            self.end(
                "cancelled",
                f"the collection was renamed to {target} meanwhile; {changes}, `{again}` sends its documents",
            )
        elif event.namespace == namespace or (not event.namespace.coll and event.namespace.db == namespace.db):
            self.end("cancelled", f"the collection was dropped meanwhile; {changes}")

    def end(self, state: str, reason: str | None = None) -> None:
        """End it as `done`, `cancelled` or `failed`; what is on its way is still delivered."""
        now = datetime.now(timezone.utc)
        self.progress = replace(self.progress, state=state, reason=reason, updated=now, ended=now)
        self.read_all = True
        say = log.error if state == "failed" else log.info
        say(f"backfill {state}", **self._described(), **({} if reason is None else {"reason": reason}))

    def wait_for(self, reason: str) -> None:
        """Show why it does not run."""
        state = "paused" if self.paused else "waiting"
        if not self.ended and (state, reason) != (self.progress.state, self.progress.reason):
            self.progress = replace(self.progress, state=state, reason=reason)

    def wait_for_turn(self, first: str) -> None:
        """Show that another backfill of its stream is read before."""
        self.wait_for(_TURN + first)

    def has_turn(self) -> None:
        """It waits for no other backfill any more."""
        if (self.progress.reason or "").startswith(_TURN):
            self._continue()

    def notice_sinks(self) -> None:
        """Show that its documents have waited for a step for some time."""
        stalled = self._in_flight and not self.ended and time.monotonic() - self._moved_at > _STALLED
        if stalled and self.progress.reason is None:
            self.progress = replace(self.progress, reason=_SINKS)

    def resume(self) -> None:
        """Continue after a failure or a pause."""
        if self.progress.state == "failed":
            self.read_all = False
        self._continue()

    def _continue(self) -> None:
        state, reason = ("running", None) if self._in_flight else ("waiting", _PLACE)
        self.progress = replace(self.progress, state=state, reason=reason, ended=None)

    def _is_older(self, event: Event) -> bool:
        time = event.change.get("clusterTime")
        return isinstance(time, Timestamp) and time.time < int(self.record.created.timestamp())

    def _begun(self) -> None:
        self._failures = 0
        now = datetime.now(timezone.utc)
        if self.progress.started is None:
            log.info("backfill started", **self._described())
        started = self.progress.started or now
        self.progress = replace(self.progress, state="running", reason=None, started=started, updated=now)

    def _failed(self, error: CannotRead) -> None:
        if error.failure is ReadFailure.FEWER and self._size.most > 1:
            self._size.was_too_large()
            return
        if error.failure is ReadFailure.GONE:
            self.end("cancelled", str(error))
            return
        if error.failure not in (ReadFailure.LATER, ReadFailure.FURTHER_ON):
            reason = self._not_permitted(error) if error.failure is ReadFailure.NOT_PERMITTED else str(error)
            again = command(f"backfill resume {self.record.id}")
            wrong = "" if self.record.match is None else "If its --match is wrong, start another one. "
            self.end("failed", f"{reason.rstrip('.')}. {wrong}Once that is fixed, {again} continues it")
            return
        self._failures += 1
        seconds = backoff(self._failures, first=_AGAIN_FIRST, multiplier=2, cap=_AGAIN_CAP)
        behind = error.failure is ReadFailure.FURTHER_ON
        self._wait(
            "waiting for the stream, which is too far behind for a consistent read" if behind else str(error), seconds
        )

    def _wait(self, reason: str, seconds: float) -> None:
        self.wait_for(reason)
        self._pause(seconds)

    def _pause(self, seconds: float) -> None:
        self._not_before = time.monotonic() + seconds
        asyncio.get_running_loop().call_later(seconds, self._changed)

    def _reached(self, chunk: Chunk, began: float) -> None:
        self._in_flight -= 1
        self._count(chunk.count)
        self._size.was_delivered(chunk.count, time.monotonic() - began)
        before = self._tenths()
        progress = self.progress
        self.progress = replace(
            progress,
            last=chunk.last or progress.last,
            documents=progress.documents + chunk.count,
            reason=None if progress.reason == _SINKS else progress.reason,
            updated=datetime.now(timezone.utc),
        )
        if self.read_all and not self._in_flight and not self.ended:
            self.end("done")
        elif self._tenths() > before:
            log.info("backfill continues", **self._described())
        self._changed()

    def _tenths(self) -> int:
        estimated = self.progress.estimated
        return 0 if not estimated else 10 * self.progress.documents // estimated

    def _described(self) -> dict[str, object]:
        return {
            "id": self.record.id,
            "namespace": str(self.record.namespace),
            "documents": self.progress.documents,
            "of_about": self.progress.estimated,
        }
