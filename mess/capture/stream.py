"""One change stream: opens it, reads it in batches, and reopens it after failures."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from bson import Int64, Timestamp
from pymongo.errors import PyMongoError

from mess.cancellation import raise_if_cancelled, within
from mess.capture.client import explain, start_session
from mess.capture.decode import RAW, Decoder
from mess.capture.diagnosis import diagnose
from mess.capture.errors import Kind, kind_of, stop_reason
from mess.capture.plan import StreamPlan
from mess.capture.prefetch import ReadAhead
from mess.capture.source import Batch, LostHistory, Unreadable
from mess.capture.start import time_now, time_oldest
from mess.capture.tokens import position_after, position_of
from mess.commands import command, quoted
from mess.errors import HistoryLost, SourceError, SourceUnavailable
from mess.event import Event, Position
from mess.options.backoff import backoff
from mess.telemetry.logging import get_logger

log = get_logger("mess.capture")

REPLY_BYTES = 1024 * 1024
"""The target size of a reply in bytes of BSON."""
REPLY_EVENTS = 400
"""The maximum number of events in a reply. Decoded, this many still fit into a core's cache on their way to the sink,
which matters more than fewer round trips: with 1,250, an event took 50 % longer."""
_FIRST_REPLY_EVENTS = 64  # while the size of events is still unknown
_WAIT_BUSY_MS = 1_000
IDLE_WAIT_MS = 5_000
"""How long MongoDB may wait before it returns an empty reply while nothing happens."""
BRIEF_WAIT_MS = 50
"""For a stream that is read to an end, which shows as an empty reply."""
JOINING_WAIT_MS = 200
"""For a stream that is to join another once it has caught up."""
_PAUSE_FIRST = 0.1
_PAUSE_CAP = 10.0
_TOKEN = re.compile(r'_data: "([0-9A-F]+)"')


class ChangeStream:
    """Reads a plan's changes from a position on, as specified by `mess.capture.source.Source`.

    It uses the public commands `aggregate` and `getMore` instead of the drivers' own iteration, which costs several
    times as much per event and does not report the position while idle. A cursor belongs to its session and its server:
    see `StickyServer`.

    A reply contains at most `reply_events` events, and about `reply_bytes` bytes, estimated from the previous events.
    MongoDB waits at most `wait_ms` before it returns an empty one. `latest` is that of
    `mess.capture.arrangement.StreamStart`.
    """

    def __init__(
        self,
        client: Any,
        plan: StreamPlan,
        position: Position,
        *,
        latest: Timestamp | None = None,
        on_history_lost: str = "stop",
        reply_events: int = REPLY_EVENTS,
        reply_bytes: int = REPLY_BYTES,
        wait_ms: int = IDLE_WAIT_MS,
    ) -> None:
        self.name = plan.name
        self.problem: str | None = "not connected yet"
        self.connected = asyncio.Event()
        self._client = client
        self._plan = plan
        self._position = position
        self._latest = latest
        self._on_history_lost = on_history_lost
        self._decoder = self._new_decoder()
        self._database = client.get_database(plan.database or "admin")
        self._read_preference = client.read_preference
        self._reply_events = reply_events
        self._reply_bytes = reply_bytes
        self._wait_ms = wait_ms
        self._batch_size = min(_FIRST_REPLY_EVENTS, reply_events)
        self._session: Any = None
        self._cursor: tuple[int, str] | None = None
        self._ahead: ReadAhead | None = None
        self._token_is_good = position.token is not None
        self._resume_option = "startAfter"
        self._split = True
        self._too_large: str | None = None
        self._busy = True
        self._failures = 0
        self._next_client: Any = None

    @property
    def position(self) -> Position:
        """See `Source.position`."""
        return self._position

    @property
    def ready(self) -> bool:
        """See `LiveSource`."""
        return self._ahead is not None and self._ahead.ready

    def interrupt(self) -> None:
        """See `LiveSource`."""
        if self._ahead is not None:
            self._ahead.interrupt()

    def reconnect(self, client: Any) -> None:
        """Continue with another client, from where it is. The former one must stay open for a while."""
        self._next_client = client
        self.interrupt()

    async def _change_client(self) -> None:
        client, self._next_client = self._next_client, None
        await self.close()
        self._client, self._database = client, client.get_database(self._plan.database or "admin")

    async def read(self) -> Batch:
        """See `Source.read`. Raises HistoryLost and other SourceErrors that retrying does not fix."""
        while True:
            if self._next_client is not None:
                await self._change_client()
            try:
                if self._cursor is None:
                    await self._open()
                batch = await self._next()
                # A part of a split event is not an event yet, but does not mean that nothing happens.
                if batch.events or batch.unreadable or not self._decoder.pending:
                    return batch
            except PyMongoError as error:
                raise_if_cancelled()
                recovered = await self._recover(error)
                if recovered is not None:
                    return recovered

    def position_after(self, event: Event) -> Position:
        """See `Source.position_after`."""
        return position_after(event)

    async def close(self) -> None:
        """Close the cursor and its session, ignoring MongoDB's answer."""
        cursor, session, ahead = self._cursor, self._session, self._ahead
        self._cursor = self._session = self._ahead = None
        if ahead is not None:
            await ahead.close()
        if session is None:
            return
        try:
            await within(1, self._let_go(cursor, session))
        except (PyMongoError, TimeoutError) as error:
            log.debug("cursor not closed", stream=self.name, error=str(error))

    async def _let_go(self, cursor: tuple[int, str] | None, session: Any) -> None:
        if cursor is not None:
            await self._database.command({"killCursors": cursor[1], "cursors": [Int64(cursor[0])]}, session=session)
        await session.end_session()

    async def _open(self) -> None:
        stages = self._plan.stages()
        options = stages[0]["$changeStream"]
        if self._position.token is not None and self._token_is_good:
            options[self._resume_option] = self._position.token
        else:
            options["startAtOperationTime"] = self._position.time
        if self._split:
            stages.append({"$changeStreamSplitLargeEvent": {}})
        self._decoder = self._new_decoder()
        self._session = await start_session(self._client)
        reply = await self._command({"aggregate": 1, "pipeline": stages, "cursor": {"batchSize": 0}})
        cursor = reply["cursor"]
        self._cursor = (cursor["id"], cursor["ns"].partition(".")[2])
        self._connected()

    def _new_decoder(self) -> Decoder:
        return Decoder(self._plan.database or "", looked_up=self._plan.looks_up)

    async def _next(self) -> Batch:
        if self._ahead is None:
            self._ahead = ReadAhead(self._get_more, self._reply_bytes // 2)
        cursor = await self._ahead.next()
        if cursor is None:
            return Batch((), self._position)
        self._failures = 0  # not after opening: a stream that opens may fail at every read
        events, unreadable, size = self._decoder.events(cursor)
        self._connected()
        if events or unreadable:
            self._latest = None
        self._busy = bool(events)
        if size:
            self._batch_size = max(1, min(self._reply_events, self._reply_bytes // size))
        position = self._position
        if not self._decoder.pending:
            last = events[-1].change.get("clusterTime") if events else position.time
            # Servers that only emulate MongoDB's protocol may omit the post-batch token.
            token = cursor.get("postBatchResumeToken") or (events[-1].change["_id"] if events else position.token)
            position = Position(None, last) if token is None else position_of(dict(token), last)
        elif events:
            position = position_after(events[-1])  # fragments of an incomplete event follow
        self._position = position
        self._token_is_good = position.token is not None
        if self._too_large is not None and cursor["postBatchResumeToken"]["_data"] >= self._too_large:
            self._too_large = None  # it has become small enough in the meantime, as a looked-up document may
        if not cursor["id"]:
            await self._reopen_later()
        return Batch(events, position, tuple(unreadable))

    async def _get_more(self) -> Any:
        if self._cursor is None:
            raise AssertionError("read before it was opened")
        cursor_id, collection = self._cursor
        command = {
            "getMore": Int64(cursor_id),
            "collection": collection,
            "batchSize": self._batch_size if self._too_large is None else 1,
            "maxTimeMS": min(self._wait_ms, _WAIT_BUSY_MS if self._busy else IDLE_WAIT_MS),
        }
        return await self._command(command, codec_options=RAW)

    async def _command(self, command: dict[str, Any], **options: Any) -> Any:
        return await self._database.command(
            command, session=self._session, read_preference=self._read_preference, **options
        )

    def _connected(self) -> None:
        if self.problem is not None:
            self.problem = None
            self.connected.set()
            log.info("stream connected", stream=self.name)

    async def _reopen_later(self) -> None:
        self._cursor = None  # the server has closed it, or will never be asked about it again
        await self.close()

    async def _recover(self, error: PyMongoError) -> Batch | None:
        """React to an error; returns a batch if there is something to record."""
        kind = kind_of(error)
        opening = self._cursor is None
        await self._reopen_later()
        if kind is Kind.TOO_LARGE and opening:
            raise SourceError(
                f"stream {self.name}: what the config selects for it is too large: MongoDB expands it to more than "
                f"16 MB. Write fewer names and globs, give globs that may share names the same match "
                "and operations, or divide them among several relays"
            ) from error
        if kind is Kind.TOO_LARGE:
            return self._past_large_event(error)
        if kind is Kind.HISTORY_LOST:
            try:
                return await self._past_lost_history(error)
            except PyMongoError as another:
                await self._wait(another)
                return None
        if kind is Kind.UNKNOWN_STAGE and opening and self._split:
            self._split = False
        elif kind is Kind.UNKNOWN_OPTION and opening and self._resume_option == "startAfter":
            self._resume_option = "resumeAfter"
        elif kind is Kind.BAD_TOKEN and self._token_is_good and self._position.time is not None:
            log.warning(
                "MongoDB refuses the resume token; continuing by cluster time",
                stream=self.name,
                time=_written(self._position),
                error=str(explain(error)),
            )
            self._token_is_good = False
        elif reason := stop_reason(error, self._plan):
            raise reason from error
        else:
            await self._wait(error)
        return None

    async def _wait(self, error: PyMongoError) -> None:
        self._failures += 1
        pause = backoff(self._failures, first=_PAUSE_FIRST, multiplier=2, cap=_PAUSE_CAP)
        reason = explain(error)
        self.problem = self.problem or str(reason)
        self.connected.clear()
        if isinstance(reason, SourceUnavailable):
            log.debug("stream not connected", stream=self.name, error=str(error))
            self.problem = await diagnose(self._client) or str(reason)
        else:
            self.problem = str(reason)
        log.warning("stream not connected, trying again", stream=self.name, error=self.problem, pause=round(pause, 2))
        await asyncio.sleep(pause)

    def _past_large_event(self, error: PyMongoError) -> Batch | None:
        """Skip a large event. Its whole reply is lost: read again one by one up to the event, then continue after
        it."""
        found = _TOKEN.search(str(error))
        if found is None:
            raise SourceError(
                f"an event is too large for MongoDB to deliver, and it does not say which: {explain(error)}"
            ) from error
        if self._too_large != found[1]:
            self._too_large = found[1]
            return None
        self._too_large = None
        self._position = position_of({"_data": found[1]}, self._position.time)
        self._token_is_good = True
        reason = "the change event is larger than MongoDB can deliver (16 MB)"
        return Batch((), self._position, (Unreadable.at(self._position, reason),))

    async def _past_lost_history(self, error: PyMongoError) -> Batch | None:
        if await self._begins_later():
            return None
        reset = command(f"checkpoints reset --stream {quoted(self.name)}")
        lost = HistoryLost(
            f"stream {self.name}: the position {_written(self._position)} is no longer in MongoDB's oplog, so changes "
            f"have been lost to this relay. To continue from now: {reset}, or "
            "set `on_history_lost: now`; a larger oplog lets the relay be away for longer"
        )
        if self._on_history_lost == "stop":
            raise lost from error
        since, self._position = self._position, Position(None, await time_now(self._client))
        self._token_is_good = False
        log.error("history lost, going on from now", stream=self.name, since=_written(since))
        return Batch((), self._position, lost=LostHistory(since, self._position, str(explain(error))))

    async def _begins_later(self) -> bool:
        """Whether nothing was lost except what was MongoDB's oldest change, where the stream was to begin."""
        since = self._position.time
        if self._latest is None or since is None:
            return False
        oldest = await time_oldest(self._client)
        if not since < oldest <= self._latest:
            return False
        self._position = Position(None, oldest)
        self._token_is_good = False
        log.info("the oplog's oldest change is gone, beginning at the next", stream=self.name)
        return True


def _written(position: Position) -> str:
    return "unknown" if position.time is None else position.time.as_datetime().isoformat()
