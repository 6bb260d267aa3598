"""The streams of a worker: the partitions that its consumer group gives it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Protocol

from mess.cancellation import cancel
from mess.capture.kafka.partition import Load, PartitionSource
from mess.capture.kafka.places import GroupOffset, Lost, PartitionKey, Start
from mess.capture.kafka.record import position
from mess.capture.source import StoppedSource
from mess.errors import MessError, StateError
from mess.relay.checkpointer import Progress
from mess.relay.lane import Lane, finish
from mess.relay.runner import StreamRunner
from mess.state.store import Gap, StateStore
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_DRAIN_SHARE = 0.5
_POLL = 0.05  # seconds
_NOT_JOINED = "it has not joined the group yet"
_STORE_SECONDS = 2.0


class OpenPartition(Protocol):
    """Creates what reads a partition from a place on, and what delivers its events."""

    def __call__(self, start: Start) -> tuple[PartitionSource, StreamRunner]: ...


@dataclass(slots=True, eq=False)
class Partition:
    """A partition that is read by `runner`. `committed` is the group's offset. `stopped` says why it is not read any
    more."""

    key: PartitionKey
    source: PartitionSource
    runner: StreamRunner
    progress: Progress
    committed: GroupOffset
    task: asyncio.Task[None] | None = None
    stopped: str | None = None

    @property
    def offset(self) -> int | None:
        """The offset of the first record that is not done."""
        reached = self.runner.window.position
        return None if reached is None or reached.token is None else int(reached.token["offset"])

    @property
    def reached(self) -> GroupOffset | None:
        """What is to be the group's offset."""
        offset = self.offset
        return None if offset is None else GroupOffset(offset, self.source.topic_id)


class KafkaStreams:
    """Runs the partitions that are assigned, from then until they are revoked or lost. `grace` is how many seconds
    their deliveries in flight may take to finish.

    `go_on` is whether a partition of which records are gone continues; otherwise it stops, with an open gap in the
    `store`.
    """

    def __init__(
        self,
        open_partition: OpenPartition,
        store: StateStore,
        *,
        grace: Callable[[], float],
        go_on: Callable[[], bool],
        affected: Callable[[], Sequence[str]],
        share_out: Callable[[int], None],
    ) -> None:
        self._open = open_partition
        self._store = store
        self._grace = grace
        self._go_on = go_on
        self._affected = affected
        self._share_out = share_out
        self._partitions: dict[PartitionKey, Partition] = {}
        self.arranging = asyncio.Lock()
        self.problem: str | None = _NOT_JOINED
        self._failure: BaseException | None = None
        self._changed = asyncio.Event()
        self._running = self._closed = False

    @property
    def partitions(self) -> Sequence[Partition]:
        """Those that are assigned."""
        return list(self._partitions.values())

    @property
    def progress(self) -> list[Progress]:
        """How far each has been processed."""
        return [each.progress for each in self._partitions.values()]

    @property
    def runners(self) -> list[StreamRunner]:
        """See `mess.relay.engine.RunningStreams`."""
        return [each.runner for each in self._partitions.values()]

    @property
    def sources(self) -> list[Any]:
        """The source of each partition, in the order of `progress`."""
        return [
            each.source if each.stopped is None else StoppedSource(each.source.name, each.stopped)
            for each in self._partitions.values()
        ]

    @property
    def lanes(self) -> list[Lane]:
        """See `mess.relay.engine.RunningStreams`."""
        return [lane for runner in self.runners for lane in runner.lanes]

    @property
    def disconnected(self) -> bool:
        """See `mess.relay.engine.RunningStreams`."""
        return self.problem is not None

    @property
    def patience(self) -> float:
        """See `mess.capture.kafka.listener.Listener`."""
        return self._grace()

    async def connected(self) -> None:
        """Return when the group's broker has been reached."""
        while self.problem is not None:  # noqa: ASYNC110
            await asyncio.sleep(_POLL)

    def divided(self) -> set[str]:
        """None: a partition is one stream."""
        return set()

    async def halt(self, plans: Collection[str]) -> list[Any]:
        """None: a config never changes partitions."""
        return []

    async def run(self) -> None:
        """Run until cancelled. Raises the error that ends a partition, or the membership."""
        self._running = True
        for each in self._partitions.values():
            self._begin(each)
        try:
            while self._failure is None:
                self._changed.clear()
                await self._changed.wait()
            raise self._failure
        finally:
            self._running = False
            await cancel(*(each.task for each in self._partitions.values() if each.task is not None))

    async def close(self) -> None:
        """Discard what has not been read."""
        self._closed = True
        await asyncio.gather(*(each.source.close() for each in self._partitions.values()))

    def idle(self) -> None:
        """The group has this member, and no partition for it."""
        if self.problem == _NOT_JOINED:
            log.info("no partition for this worker: the group has more members than partitions, or is sharing them out")
            self.problem = None

    def assigned(self, starts: Sequence[Start]) -> None:
        """See `mess.capture.kafka.listener.Listener`."""
        self.problem = None
        if not starts:
            return
        self._share_out(len(self._partitions) + len(starts))
        for start in starts:
            self._add(start)
        log.info("partitions assigned", partitions=[str(each.key) for each in starts])

    def _add(self, start: Start) -> None:
        source, runner = self._open(start)
        committed = start.offset if start.committed is None else start.committed
        saved = position(*start.key, committed)
        progress = Progress(stream=source.name, plan="", window=runner.window, saved=saved)
        topic_id = start.topic_id if start.lost is None else None
        partition = self._partitions[start.key] = Partition(
            start.key, source, runner, progress=progress, committed=GroupOffset(committed, topic_id)
        )
        if start.lost is not None:
            self._history_lost(partition, start.lost)
        self._begin(partition)

    def _begin(self, partition: Partition) -> None:
        if self._running and partition.task is None and partition.stopped is None:
            partition.task = asyncio.create_task(self._read(partition))

    async def _read(self, partition: Partition) -> None:
        try:
            await partition.runner.run()
        except Exception as error:
            self.failed(error)

    def _history_lost(self, partition: Partition, lost: Lost) -> None:
        if self._go_on():
            log.error("history lost; the partition continues", stream=partition.source.name, reason=lost.reason)
            return
        partition.stopped = (
            f"{lost.reason}. To continue with what is left, set on_history_lost: now, and restart the workers"
        )
        log.error("history lost; the partition is not read", stream=partition.source.name, problem=partition.stopped)
        gap = Gap(
            stream=partition.source.name,
            since=None,
            until=None,
            reason=lost.reason,
            time=datetime.now(timezone.utc),
            namespaces=tuple(self._affected()),
            open=True,
        )
        partition.task = asyncio.create_task(self._record(gap))

    async def _record(self, gap: Gap) -> None:
        try:
            await self._store.open_gap(gap)
        except MessError as error:
            self.failed(error)

    def received(self, loads: Mapping[PartitionKey, Load]) -> None:
        """See `mess.capture.kafka.listener.Listener`."""
        for key, load in loads.items():
            if (partition := self._partitions.get(key)) is not None:
                partition.source.add(load)

    def reached(self, ends: Mapping[PartitionKey, int]) -> None:
        """See `mess.capture.kafka.listener.Listener`."""
        for key, offset in ends.items():
            if (partition := self._partitions.get(key)) is not None:
                partition.source.reach(offset)

    def expired(self, place: Start) -> None:
        """See `mess.capture.kafka.listener.Listener`."""
        partition = self._partitions.get(place.key)
        if partition is None or place.lost is None:
            return
        if self._go_on():
            partition.source.lose(place.lost)
        elif partition.task is not None:
            partition.task.cancel()
        self._history_lost(partition, place.lost)

    def revoked(self, keys: Sequence[PartitionKey]) -> Coroutine[Any, Any, Mapping[PartitionKey, GroupOffset]]:
        """See `mess.capture.kafka.listener.Listener`."""
        return self._revoked(self._leaving(keys))

    async def _revoked(self, leaving: Sequence[Partition]) -> Mapping[PartitionKey, GroupOffset]:
        await self._stop_reading(leaving)
        began, grace = time.monotonic(), 0.0 if self._closed else self._grace()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace * _DRAIN_SHARE):
                await asyncio.gather(*(each.runner.window.drained() for each in leaving if each.stopped is None))
        late = await self._abandon(leaving, grace - (time.monotonic() - began))
        offsets = {each.key: reached for each in leaving if each.stopped is None and (reached := each.reached)}
        self._remove(leaving)
        log.info("partitions revoked", partitions=[str(each.key) for each in leaving], unfinished_deliveries=late)
        try:
            async with asyncio.timeout(_STORE_SECONDS):
                await self._store.record_deferred_gaps()
        except (StateError, TimeoutError) as error:
            reason = str(error) or "no answer in time"
            log.warning("gaps cannot be stored, so the offsets behind them are not committed", error=reason)
            return {}
        return offsets

    def lost(self, keys: Sequence[PartitionKey]) -> Coroutine[Any, Any, None]:
        """See `mess.capture.kafka.listener.Listener`."""
        return self._lost(self._leaving(keys))

    async def _lost(self, leaving: Sequence[Partition]) -> None:
        await self._stop_reading(leaving)
        await self._abandon(leaving, 0.0)
        self._remove(leaving)
        log.warning(
            "partitions lost: the group has not heard of this process in time, or has removed it",
            partitions=[str(each.key) for each in leaving],
        )

    def _leaving(self, keys: Sequence[PartitionKey]) -> list[Partition]:
        return [self._partitions[key] for key in keys if key in self._partitions]

    async def _stop_reading(self, leaving: Sequence[Partition]) -> None:
        await cancel(*(each.task for each in leaving if each.task is not None))
        for each in leaving:
            await each.source.close()

    async def _abandon(self, leaving: Sequence[Partition], grace: float) -> int:
        """Let deliveries in flight finish, and begin no more; returns how many were cancelled."""
        lanes = [lane for each in leaving for lane in each.runner.lanes]
        for lane in lanes:
            lane.stop()
        late = await finish(lanes, max(0.0, grace))
        for lane in lanes:
            lane.discard()
        return late

    def _remove(self, leaving: Sequence[Partition]) -> None:
        for each in leaving:
            # If all this took so long that the group was not waited for, it may have been assigned again.
            if self._partitions.get(each.key) is each:
                del self._partitions[each.key]
        self._share_out(len(self._partitions))

    def trouble(self, reason: str | None) -> None:
        """See `mess.capture.kafka.listener.Listener`."""
        if reason is not None:
            log.warning("Kafka cannot be read at present", error=reason)
        else:
            log.info("Kafka can be read again")
        self.problem = reason
        for each in self._partitions.values():
            each.source.problem = reason

    def failed(self, error: BaseException) -> None:
        """See `mess.capture.kafka.listener.Listener`."""
        if self._failure is None:
            self._failure = error
        self._changed.set()
