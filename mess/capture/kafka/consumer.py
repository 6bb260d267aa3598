"""A member of a consumer group: confluent-kafka's consumer, polled in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

import orjson

from mess.capture.kafka.admin import GroupAdmin, Terms
from mess.capture.kafka.heartbeat import Heard, Heartbeat
from mess.capture.kafka.partition import Load
from mess.capture.kafka.places import PartitionKey, Range, Start, begins, start
from mess.capture.kafka.record import Record
from mess.capture.kafka.settings import LOG, client
from mess.capture.kafka.settings import Protocol as GroupProtocol
from mess.config.model import KafkaSource
from mess.errors import SourceError
from mess.telemetry.logging import get_logger

log = get_logger("mess.kafka")

_POLL_SECONDS = 0.1
_FULL_SECONDS = 0.05
_ASK_SECONDS = 5.0
_RECORDS = 1000
_CLOSE_SECONDS = 5.0
_RESUME_SECONDS = 0.01


class Listener(Protocol):
    """What a member tells. All of it is called in the event loop, in the order in which it happens."""

    def joining(self, terms: Terms) -> None:
        """It is about to join the group."""

    @property
    def patience(self) -> float:
        """How many seconds `revoked` may take."""

    def assigned(self, starts: Sequence[Start]) -> None:
        """These partitions are about to be read."""

    def received(self, loads: Mapping[PartitionKey, Load]) -> None:
        """Records have arrived."""

    def revoked(self, keys: Sequence[PartitionKey]) -> Coroutine[Any, Any, Mapping[PartitionKey, int]]:
        """These partitions are about to go to other members. What it returns is awaited, for the offsets to commit
        before; meanwhile, the same ones may be assigned again."""

    def lost(self, keys: Sequence[PartitionKey]) -> Coroutine[Any, Any, None]:
        """Other members may have these partitions already: nothing of them may be delivered or committed. What it
        returns is awaited, as for `revoked`."""

    def expired(self, place: Start) -> None:
        """A partition's records were removed before they could be read; it continues at this place."""

    def heard(self, heard: Heard, statistics: Mapping[str, Any]) -> None:
        """A sample of the client's statistics."""

    def trouble(self, reason: str | None) -> None:
        """Why nothing can be read at present; None if that is over."""

    def failed(self, error: BaseException) -> None:
        """It has ended because of this error."""


class GroupMember:
    """A member of the `source`'s group from `join` to `close`. `settings` are those of its consumer.

    A partition of which more than `max_records` or `max_bytes` wait to be used is not read further. `fence` is called
    in the thread, at once, when something may no longer be delivered.
    """

    def __init__(
        self,
        source: KafkaSource,
        admin: GroupAdmin,
        settings: Callable[[GroupProtocol], Mapping[str, Any]],
        listener: Listener,
        *,
        fence: Callable[[], None],
    ) -> None:
        self._kafka = client()
        self._source = source
        self._admin = admin
        self._settings = settings
        self._listener = listener
        self._fence = fence
        self.max_records, self.max_bytes = 1000, 1 << 20
        self._loop = asyncio.get_running_loop()
        self._given: dict[PartitionKey, list[int]] = {}
        self._taken: dict[PartitionKey, list[int]] = {}
        self._paused: set[PartitionKey] = set()
        self._unanswered: set[PartitionKey] = set()
        self._room = threading.Event()
        self._closing = False
        self._commit: tuple[Mapping[PartitionKey, int], asyncio.Future[None]] | None = None
        self._committing: asyncio.Future[None] | None = None
        self._heartbeat = Heartbeat()
        self._trouble: str | None = None
        self._disconnected = False
        self._cause: str | None = None
        self._thread = threading.Thread(target=self._run, name="mess-kafka", daemon=True)
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._consumer: Any = None
        self._work: asyncio.Task[None] | None = None

    def join(self) -> None:
        """Join the group."""
        self._thread.start()

    def taken(self, key: PartitionKey, load: Load) -> None:
        """A load has been used."""
        if (counts := self._taken.get(key)) is not None:
            counts[0] += len(load.records)
            counts[1] += load.size
        self._room.set()

    async def commit(self, offsets: Mapping[PartitionKey, int]) -> None:
        """Commit these as the group's offsets. Raises SourceError if the broker does not accept that. One call at a
        time."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._commit = (offsets, done)
        self._room.set()
        await done

    async def close(self) -> None:
        """Leave the group."""
        self._closing = True
        self._room.set()
        if self._thread.ident is None:
            return
        await asyncio.wait({self._ended}, timeout=_CLOSE_SECONDS)

    # From here on, everything runs in the thread.

    def _tell(self, what: Any, *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(what, *arguments)
        except RuntimeError:  # the loop is closed
            self._closing = True

    def _run(self) -> None:
        try:
            if (terms := self._terms()) is None:
                return
            self._tell(self._listener.joining, terms)
            self._consumer = self._kafka.Consumer(
                {
                    **self._settings(terms.protocol),
                    "error_cb": self._on_error,
                    "stats_cb": self._on_statistics,
                    "on_commit": self._on_commit,
                },
                logger=LOG,
            )
            self._consumer.subscribe(
                list(self._source.topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not self._closing:
                self._turn()
        except BaseException as error:
            self._tell(self._listener.failed, error)
        finally:
            if self._consumer is not None:
                self._consumer.close()
            self._tell(self._set_ended)

    def _terms(self) -> Terms | None:
        """The brokers' terms, as soon as one answers; None if this is to close."""
        while not self._closing:
            try:
                return self._admin.terms()
            except self._kafka.KafkaException as error:
                self._said(self._admin.unreachable(error))
                time.sleep(_POLL_SECONDS)
        return None

    def _set_ended(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    def _turn(self) -> None:
        for key in list(self._unanswered):
            self._expired(key)
        self._flow()
        self._start_commit()
        first = self._consumer.poll(_RESUME_SECONDS if self._paused else _POLL_SECONDS)
        if first is None:
            return
        place = PartitionKey(first.topic(), first.partition())
        assigned = self._given.get(place)
        others = self._consumer.consume(_RECORDS - 1, 0)
        # Meanwhile, it may have lost the partition, and got it again with an earlier offset.
        self._hand_over(others if self._given.get(place) is not assigned else [first, *others])

    def _hand_over(self, messages: Sequence[Any]) -> None:
        """Hand over records and errors, in their order."""
        records: list[Any] = []
        for message in messages:
            if message.error() is None:
                records.append(message)
            else:
                self._hand_over_records(records)
                records = []
                self._on_record_error(message)
        self._hand_over_records(records)

    def _hand_over_records(self, messages: Sequence[Any]) -> None:
        found: defaultdict[PartitionKey, list[Record]] = defaultdict(list)
        sizes: defaultdict[PartitionKey, int] = defaultdict(int)
        for message in messages:
            topic, number, value, key = message.topic(), message.partition(), message.value(), message.key()
            kind, timestamp = message.timestamp()
            place = PartitionKey(topic, number)
            found[place].append(
                Record(
                    topic,
                    number,
                    message.offset(),
                    timestamp=timestamp if kind else None,
                    key=key,
                    value=value,
                    headers=_headers(message),
                )
            )
            sizes[place] += (0 if value is None else len(value)) + (0 if key is None else len(key))
        loads = {}
        for place, records in found.items():
            if place in self._given:
                loads[place] = Load(records, sizes[place])
                self._given[place][0] += len(records)
                self._given[place][1] += sizes[place]
        if loads:
            self._said(None)
            self._tell(self._listener.received, loads)

    def _flow(self) -> None:
        """Wait a little for a partition that is full; then pause it, until half of that is used."""
        if self._paused:
            self._resume([key for key in self._paused if not self._is_full(key, 2)])
        full = self._full()
        if full:
            deadline = time.monotonic() + _FULL_SECONDS
            while full and not self._closing and (left := deadline - time.monotonic()) > 0:
                self._room.clear()
                if full := self._full():
                    self._room.wait(left)
            if full := self._full():
                self._consumer.pause([self._partition(key) for key in full])
                self._paused.update(full)

    def _full(self) -> list[PartitionKey]:
        return [key for key in self._given if key not in self._paused and self._is_full(key)]

    def _is_full(self, key: PartitionKey, share: int = 1) -> bool:
        given, taken = self._given[key], self._taken[key]
        return given[0] - taken[0] > self.max_records // share or given[1] - taken[1] > self.max_bytes // share

    def _resume(self, keys: Sequence[PartitionKey]) -> None:
        if keys:
            self._consumer.resume([self._partition(key) for key in keys])
            self._paused.difference_update(keys)

    def _partition(self, key: PartitionKey, offset: int | None = None) -> Any:
        return self._kafka.TopicPartition(*key) if offset is None else self._kafka.TopicPartition(*key, offset)

    def _start_commit(self) -> None:
        if self._commit is None or self._committing is not None:
            return
        (offsets, self._committing), self._commit = self._commit, None
        offsets = {key: offset for key, offset in offsets.items() if key in self._given}
        if not offsets:
            self._end_commit(None)
            return
        try:
            self._consumer.commit(
                offsets=[self._partition(key, offset) for key, offset in offsets.items()], asynchronous=True
            )
        except self._kafka.KafkaException as error:
            self._end_commit(error.args[0])

    def _on_commit(self, error: Any, partitions: Sequence[Any]) -> None:
        found = error or next((each.error for each in partitions if each.error is not None), None)
        self._end_commit(found)

    def _end_commit(self, error: Any) -> None:
        done, self._committing = self._committing, None
        if done is not None:
            self._tell(_settle, done, None if error is None else SourceError(f"Kafka: {error.str()}"))

    def _on_assign(self, consumer: Any, partitions: Sequence[Any]) -> None:
        keys = [PartitionKey(each.topic, each.partition) for each in partitions]
        starts = self._starts(keys)
        if starts is None:
            return
        for key in keys:
            self._given[key], self._taken[key] = [0, 0], [0, 0]
        self._tell(self._listener.assigned, starts)
        consumer.incremental_assign([self._partition(each.key, each.offset) for each in starts])
        # One that was paused when this member lost it, and that comes back, would still be.
        consumer.resume([self._partition(key) for key in keys])

    def _starts(self, keys: Sequence[PartitionKey]) -> list[Start] | None:
        """Where partitions begin, with new places committed; None if they are no longer this member's."""
        kinds = self._kafka.KafkaError
        while not self._closing:
            try:
                return self._asked(keys)
            except self._kafka.KafkaException as error:
                if error.args[0].code() in (kinds.UNKNOWN_MEMBER_ID, kinds.ILLEGAL_GENERATION):
                    return None
                self._said(f"cannot find out where partitions begin: {error.args[0].str()}")
                time.sleep(_POLL_SECONDS)
        return None

    def _asked(self, keys: Sequence[PartitionKey]) -> list[Start]:
        committed = self._committed(keys)
        new: dict[PartitionKey, Any] = {}
        # Not `Consumer.list_topics`: in a callback of the same consumer, it makes the next callback abort the process
        # (confluent-kafka's `CallState_end` forgets the thread's state).
        for topic in {key.topic for key in keys if committed[key] is None}:
            numbers = self._admin.numbers(topic)
            of_all = self._committed([PartitionKey(topic, number) for number in numbers])
            new |= begins(of_all, self._source.start)
        held = {key: self._held(key) for key in {*keys, *new}}
        starts = [start(key, committed[key], held[key], new.get(key, "oldest")) for key in keys]
        # Those of the other members too: else these would find a topic that the group knows.
        places = [start(key, None, held[key], begin) for key, begin in new.items()]
        if places:
            self._commit_now({each.key: each.offset for each in places})
        return starts

    def _committed(self, keys: Sequence[PartitionKey]) -> dict[PartitionKey, int | None]:
        found = self._consumer.committed([self._partition(key) for key in keys], timeout=_ASK_SECONDS)
        for each in found:
            if each.error is not None:
                raise self._kafka.KafkaException(each.error)
        return {PartitionKey(each.topic, each.partition): each.offset if each.offset >= 0 else None for each in found}

    def _held(self, key: PartitionKey) -> Range:
        return Range(*self._consumer.get_watermark_offsets(self._partition(key), timeout=_ASK_SECONDS))

    def _commit_now(self, offsets: Mapping[PartitionKey, int]) -> None:
        found = self._consumer.commit(
            offsets=[self._partition(key, offset) for key, offset in offsets.items()], asynchronous=False
        )
        for each in found:
            if each.error is not None:
                raise self._kafka.KafkaException(each.error)

    def _on_revoke(self, consumer: Any, partitions: Sequence[Any]) -> None:
        keys = [PartitionKey(each.topic, each.partition) for each in partitions]
        offsets = self._wait_for(self._listener.revoked, keys) or {}
        if offsets:
            try:
                self._commit_now(offsets)
            except self._kafka.KafkaException as error:
                log.warning(
                    "offsets could not be committed before the partitions go; their next member delivers some again",
                    error=error.args[0].str(),
                )
        self._drop(keys)

    def _on_lost(self, consumer: Any, partitions: Sequence[Any]) -> None:
        self._fence()
        keys = [PartitionKey(each.topic, each.partition) for each in partitions]
        self._wait_for(self._listener.lost, keys)
        self._drop(keys)

    def _drop(self, keys: Sequence[PartitionKey]) -> None:
        for key in keys:
            self._given.pop(key, None)
            self._taken.pop(key, None)
            self._paused.discard(key)
            self._unanswered.discard(key)

    def _wait_for(self, tell: Callable[[Sequence[PartitionKey]], Coroutine[Any, Any, Any]], keys: Any) -> Any:
        """The result of work in the event loop. If that does not respond in time, nothing more is delivered."""
        future: Future[Any] = Future()

        async def work(coroutine: Coroutine[Any, Any, Any]) -> None:
            try:
                future.set_result(await coroutine)
            except Exception as error:
                future.set_exception(error)

        def begin() -> None:
            # A task of its own would first look after whatever is told next, such as the same partitions again.
            self._work = self._loop.create_task(work(tell(keys)))

        try:
            self._loop.call_soon_threadsafe(begin)
        except RuntimeError:  # the loop is closed
            return None
        try:
            return future.result(self._listener.patience + _ASK_SECONDS)
        except TimeoutError:
            self._fence()
            return None
        except Exception as error:
            if not self._closing:
                self._fence()
                self._tell(self._listener.failed, error)
            return None

    def _on_record_error(self, message: Any) -> None:
        error, kinds = message.error(), self._kafka.KafkaError
        if error.code() in (kinds._AUTO_OFFSET_RESET, kinds.OFFSET_OUT_OF_RANGE) and message.topic() is not None:
            self._expired(PartitionKey(message.topic(), message.partition()))
            return
        if error.code() == kinds.GROUP_AUTHORIZATION_FAILED:
            raise SourceError(
                f"Kafka: {error.str().rstrip('.')}; allow this user to read the group {self._source.group}"
            )
        if error.fatal():
            raise SourceError(f"Kafka: {error.str()}")
        denied = error.code() == kinds.TOPIC_AUTHORIZATION_FAILED
        self._said(error.str() + ("; allow this user to read and describe the topic" if denied else ""))

    def _expired(self, key: PartitionKey) -> None:
        """Continue behind records that were removed."""
        if key not in self._given:
            return
        partition = self._partition(key)
        try:
            position = self._consumer.position([partition])[0].offset
            place = start(key, max(position, 0), self._held(key), "oldest")
        except self._kafka.KafkaException as error:
            self._said(f"cannot find out where {key} continues: {error.args[0].str()}")
            self._unanswered.add(key)
            return
        self._unanswered.discard(key)
        self._tell(self._listener.expired, place)
        self._resume([key])
        self._consumer.incremental_unassign([partition])
        self._consumer.incremental_assign([self._partition(key, place.offset)])

    def _on_statistics(self, text: str) -> None:
        statistics = orjson.loads(text)
        if self._disconnected and any(each["state"] == "UP" for each in statistics["brokers"].values()):
            self._disconnected = False
            self._said(None)
        self._tell(self._listener.heard, self._heartbeat.heard(statistics), statistics)

    def _on_error(self, error: Any) -> None:
        kinds = self._kafka.KafkaError
        down = (kinds._ALL_BROKERS_DOWN, kinds._AUTHENTICATION, kinds._SSL, kinds._RESOLVE)
        if error.code() == kinds._TRANSPORT:
            self._cause = error.str()
        elif error.fatal() or error.code() in down:
            self._disconnected = not error.fatal()
            away = error.code() == kinds._ALL_BROKERS_DOWN  # which says neither where nor why
            cause = (away and self._cause) or error.str()
            self._said(error.str() if error.fatal() else self._admin.away(cause))

    def _said(self, reason: str | None) -> None:
        if reason != self._trouble:
            self._trouble = reason
            self._tell(self._listener.trouble, reason)


def _headers(message: Any) -> Sequence[tuple[str, bytes | None]] | None:
    try:
        return message.headers() or ()
    except (SystemError, UnicodeDecodeError):  # the former because confluent-kafka goes on after the latter
        return None


def _settle(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
