"""A member of a consumer group: confluent-kafka's consumer, polled in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import orjson

from mess.capture.kafka.admin import GroupAdmin, Terms
from mess.capture.kafka.backpressure import Backpressure
from mess.capture.kafka.group_offsets import GroupOffsets
from mess.capture.kafka.heartbeat import Heartbeat
from mess.capture.kafka.listener import Listener
from mess.capture.kafka.messages import by_partition
from mess.capture.kafka.places import GroupOffset, PartitionKey, Start
from mess.capture.kafka.settings import LOG, Protocol, client
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
_LOOK_SECONDS = 2.0


class GroupMember:
    """A member of the `source`'s group from `join` to `close`. `settings` are those of its consumer.

    A partition of which too much waits, as `backpressure` has it, is not read further. `fence` is called in the thread,
    at once, when something may no longer be delivered.
    """

    def __init__(
        self,
        source: KafkaSource,
        admin: GroupAdmin,
        settings: Callable[[Protocol], Mapping[str, Any]],
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
        self.backpressure = Backpressure()
        self._loop = asyncio.get_running_loop()
        self._paused: set[PartitionKey] = set()
        self._unanswered: set[PartitionKey] = set()
        self._recreated: set[PartitionKey] = set()
        self._absent: set[PartitionKey] = set()
        self._look_at = 0.0
        self._failing: dict[PartitionKey | None, str] = {}
        self._closing = False
        self._commit: tuple[Mapping[PartitionKey, GroupOffset], asyncio.Future[None]] | None = None
        self._committing: asyncio.Future[None] | None = None
        self._heartbeat = Heartbeat()
        self._trouble: str | None = None
        self._disconnected = False
        self._cause: str | None = None
        self._thread = threading.Thread(target=self._run, name="mess-kafka", daemon=True)
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._consumer: Any = None
        self._offsets: GroupOffsets
        self._work: asyncio.Task[None] | None = None

    def join(self) -> None:
        """Join the group."""
        self._thread.start()

    async def commit(self, offsets: Mapping[PartitionKey, GroupOffset]) -> None:
        """Commit these as the group's offsets. Raises SourceError if the broker does not accept that. One call at a
        time."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._commit = (offsets, done)
        self.backpressure.wake()
        await done

    async def close(self) -> None:
        """Leave the group."""
        self._closing = True
        self.backpressure.wake()
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
            self._offsets = GroupOffsets(self._kafka, self._consumer, self._admin, self._source.start)
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
        if topics := self._offsets.differ(self._admin.topic_ids):
            self._begin_anew(topics)
        self._look_for_absent()
        self._flow()
        self._start_commit()
        first = self._consumer.poll(_RESUME_SECONDS if self._paused else _POLL_SECONDS)
        if first is None:
            return
        place = PartitionKey(first.topic(), first.partition())
        assignment = self.backpressure.assignment(place)
        others = self._consumer.consume(_RECORDS - 1, 0)
        # Meanwhile, it may have lost the partition, and got it again with an earlier offset.
        same = self.backpressure.assignment(place) is assignment
        self._hand_over([first, *others] if same else others)

    def _hand_over(self, messages: Sequence[Any]) -> None:
        """Hand over records, ends and errors, those of each partition in their order."""
        records: list[Any] = []
        ends: dict[PartitionKey, int] = {}
        for message in messages:
            if (error := message.error()) is None:
                records.append(message)
            elif error.code() == self._kafka.KafkaError._PARTITION_EOF:
                ends[PartitionKey(message.topic(), message.partition())] = message.offset()
            else:
                self._hand_over_records(records, ends)
                records, ends = [], {}
                self._on_record_error(message)
        self._hand_over_records(records, ends)

    def _hand_over_records(self, messages: Sequence[Any], ends: Mapping[PartitionKey, int]) -> None:
        loads = {key: load for key, load in by_partition(messages).items() if key in self.backpressure}
        for key, load in loads.items():
            self.backpressure.given(key, load)
        if loads:
            self._works(None, *loads)
            self._tell(self._listener.received, loads)
        if ends := {key: offset for key, offset in ends.items() if key in self.backpressure}:
            self._tell(self._listener.reached, ends)

    def _flow(self) -> None:
        """Wait a little for a partition that is full; then pause it, until half of that is used."""
        if self._paused:
            self._resume([key for key in self._paused if not self.backpressure.is_full(key, 2)])
        if full := self.backpressure.wait(_FULL_SECONDS, self._paused):
            self._consumer.pause([self._offsets.partition(key) for key in full])
            self._paused.update(full)

    def _resume(self, keys: Sequence[PartitionKey]) -> None:
        if keys:
            self._consumer.resume([self._offsets.partition(key) for key in keys])
            self._paused.difference_update(keys)

    def _start_commit(self) -> None:
        if self._commit is None or self._committing is not None:
            return
        (offsets, self._committing), self._commit = self._commit, None
        offsets = {key: offset for key, offset in offsets.items() if key in self.backpressure}
        if not offsets:
            self._end_commit(None)
            return
        try:
            self._offsets.begin_commit(offsets)
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
        absent = set(keys) - {each.key for each in starts}
        self._absent |= absent
        self._begin(starts, absent)

    def _begin(self, starts: Sequence[Start], absent: Collection[PartitionKey] = ()) -> None:
        """Read these partitions from now on. Those that are `absent` are assigned too, since they may be revoked."""
        self.backpressure.add([each.key for each in starts])
        self._tell(self._listener.assigned, starts)
        partitions = [self._offsets.partition(each.key, each.offset) for each in starts]
        partitions += [self._offsets.partition(key, self._kafka.OFFSET_END) for key in absent]
        self._consumer.incremental_assign(partitions)
        # One that was paused when this member lost it, and that comes back, would still be.
        self._consumer.resume([self._offsets.partition(each.key) for each in starts])

    def _look_for_absent(self) -> None:
        """Begin to read partitions whose topics did not exist when they were assigned."""
        if not self._absent or (now := time.monotonic()) < self._look_at:
            return
        self._look_at = now + _LOOK_SECONDS
        try:
            starts = self._offsets.starts(self._absent)
        except self._kafka.KafkaException as error:
            log.debug("topics that did not exist cannot be asked for", error=error.args[0].str())
            return
        found = {each.key for each in starts}
        if found:
            self._absent -= found
            self._consumer.incremental_unassign([self._offsets.partition(key) for key in found])
            self._begin(starts)

    def _starts(self, keys: Sequence[PartitionKey]) -> list[Start] | None:
        """Where partitions begin, with new places committed; None if they are no longer this member's."""
        kinds = self._kafka.KafkaError
        while not self._closing:
            try:
                return self._offsets.starts(keys)
            except self._kafka.KafkaException as error:
                if error.args[0].code() in (kinds.UNKNOWN_MEMBER_ID, kinds.ILLEGAL_GENERATION):
                    return None
                self._said(f"cannot find out where partitions begin: {error.args[0].str()}")
                time.sleep(_POLL_SECONDS)
        return None

    def _on_revoke(self, consumer: Any, partitions: Sequence[Any]) -> None:
        keys = [PartitionKey(each.topic, each.partition) for each in partitions]
        offsets = self._wait_for(self._listener.revoked, keys) or {}
        if offsets:
            try:
                self._offsets.commit(offsets)
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
        self.backpressure.drop(keys)
        self._offsets.drop(keys)
        self._paused.difference_update(keys)
        self._unanswered.difference_update(keys)
        self._recreated.difference_update(keys)
        self._absent.difference_update(keys)
        for key in keys:
            self._failing.pop(key, None)

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
        place = _place(message)
        if error.code() in (kinds._AUTO_OFFSET_RESET, kinds.OFFSET_OUT_OF_RANGE) and place is not None:
            if place not in self._begin_anew({place.topic}):
                self._expired(place)
            return
        if error.code() == kinds.GROUP_AUTHORIZATION_FAILED:
            raise SourceError(
                f"Kafka: {error.str().rstrip('.')}; allow this user to read the group {self._source.group}"
            )
        if error.fatal():
            raise SourceError(f"Kafka: {error.str()}")
        self._fails(place, error.str() + self._remedy(error))

    def _remedy(self, error: Any) -> str:
        if error.code() == self._kafka.KafkaError.TOPIC_AUTHORIZATION_FAILED:
            return "; allow this user to read and describe the topic"
        if error.code() == self._kafka.KafkaError._BAD_COMPRESSION:
            return "; if its batches are much larger uncompressed, raise source.kafka.config.receive.message.max.bytes"
        return ""

    def _fails(self, place: PartitionKey | None, reason: str) -> None:
        """Say that a partition, or all, cannot be read, until a record of it arrives: others may go on."""
        self._failing[place] = reason if place is None else f"{place}: {reason}"
        self._said(next(iter(self._failing.values())))

    def _works(self, *places: PartitionKey | None) -> None:
        for place in places:
            self._failing.pop(place, None)
        self._said(next(iter(self._failing.values()), None))

    def _begin_anew(self, topics: Collection[str]) -> set[PartitionKey]:
        """Begin with the first records of those among these topics that were created anew: mostly, no error says that
        they were. Returns their partitions."""
        try:
            found = self._offsets.recreated(topics)
        except self._kafka.KafkaException as error:
            log.debug("the topics cannot be described", error=error.args[0].str())
            return set()
        self._recreated |= found
        for key in found:
            self._expired(key)
        return found

    def _expired(self, key: PartitionKey) -> None:
        """Continue behind records that were removed."""
        if key not in self.backpressure:
            return
        partition = self._offsets.partition(key)
        try:
            read = max(self._consumer.position([partition])[0].offset, 0)
            place = self._offsets.continues(key, read, recreated=key in self._recreated)
        except self._kafka.KafkaException as error:
            self._fails(key, f"cannot find out where it continues: {error.args[0].str()}")
            self._unanswered.add(key)
            return
        self._works(key)
        self._unanswered.discard(key)
        self._recreated.discard(key)
        self._tell(self._listener.expired, place)
        self._resume([key])
        self._consumer.incremental_unassign([partition])
        self._consumer.incremental_assign([self._offsets.partition(key, place.offset)])

    def _on_statistics(self, text: str) -> None:
        statistics = orjson.loads(text)
        if self._disconnected and any(each["state"] == "UP" for each in statistics["brokers"].values()):
            self._disconnected = False
            self._works()
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


def _place(message: Any) -> PartitionKey | None:
    topic, number = message.topic(), message.partition()
    return None if topic is None or number is None or number < 0 else PartitionKey(topic, number)


def _settle(done: asyncio.Future[None], error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
