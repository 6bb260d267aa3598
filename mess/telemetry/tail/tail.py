"""Live tails of a relay: selects events, follows them, and passes them to the clients that watch.

Whatever the relay does and however many watch, tails take a bounded share of its time and of its memory. What does not
fit is left out, and counted.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar
from weakref import WeakSet

from mess.errors import DeliveryError
from mess.event import Event, Namespace
from mess.telemetry.observer import Observer, PipelineObserver, StepObserver, StreamObserver
from mess.telemetry.tail.client import TailClient, Total
from mess.telemetry.tail.filter import TailFilter
from mess.telemetry.tail.pace import Bucket, Load, TimeShare
from mess.telemetry.tail.path import EventPath, StepName
from mess.telemetry.tail.selection import Selection
from mess.telemetry.tail.tap import PipelineTap, StepTap, StreamTap

T = TypeVar("T", StreamTap, PipelineTap, StepTap)

SENT_PER_SECOND = 2000
"""How many events are sent to all clients together; one that several get counts for each."""
_SENT_AT_ONCE = 400
_FOLLOWED = 2000
_FOLLOWED_BYTES = 8 * 1024**2  # of BSON; decoded, and with what the steps make of it, it is several times as large
_WAITING = 400
_BACKLOG = 100
_NAMESPACES = 10_000
_TICK = 0.05  # seconds
_INTERVAL, _FEW = 0.1, 16


class Tail:
    """The live tails of a relay: an `Observer` that passes everything on to `inner`. `clients` is how many watch.

    Bodies are only referenced, since steps replace and never change them.
    """

    def __init__(self, inner: Observer) -> None:
        self._pipelines: Mapping[str, Sequence[StepName]] = {}
        self._pipeline_of: Callable[[Namespace], str | None] = lambda namespace: None
        self._inner = inner
        self._taps: WeakSet[StreamTap | PipelineTap | StepTap] = WeakSet()
        self._total = Total()
        self._selections: dict[TailFilter, Selection] = {}
        self._rare: list[Selection] = []
        self._by_namespace: dict[Namespace, list[Selection]] = {}
        self._followed: OrderedDict[int, EventPath] = OrderedDict()
        self._finished: deque[EventPath] = deque()
        self._bytes = 0
        self._sends = Bucket(SENT_PER_SECOND, _SENT_AT_ONCE)
        self._load = Load()
        self._selecting = TimeShare(self._load, busy=0.008, idle=0.1)
        self._writing = TimeShare(self._load, busy=0.012, idle=0.15)
        self._timer: asyncio.TimerHandle | None = None
        self.clients = 0
        self.closed = False

    def stream(self, name: str) -> StreamObserver:
        """See `Observer`."""
        return self._added(StreamTap(self._inner.stream(name), name, self))

    def pipeline(self, name: str) -> PipelineObserver:
        """See `Observer`."""
        return self._added(PipelineTap(self._inner.pipeline(name), name, self))

    def step(self, pipeline: str, step: str) -> StepObserver:
        """See `Observer`."""
        return self._added(StepTap(self._inner.step(pipeline, step), step, self))

    def arrange(
        self, pipelines: Mapping[str, Sequence[StepName]], pipeline_of: Callable[[Namespace], str | None]
    ) -> None:
        """Learn the steps of each pipeline, and the pipeline of each namespace (None if unknown); again when the config
        changes."""
        self._pipelines, self._pipeline_of = pipelines, pipeline_of
        self._by_namespace.clear()

    @contextmanager
    def watch(self, wanted: TailFilter, limit: int | None = None) -> Iterator[TailClient]:
        """A client that gets the events that `wanted` selects, and ends after `limit` of them."""
        client = TailClient(self._total, limit)
        if self.closed:
            client.close()
        selection = self._selections.setdefault(wanted, Selection(wanted))
        selection.clients.append(client)
        self.clients += 1
        self._rearrange()
        try:
            yield client
        finally:
            selection.clients.remove(client)
            self.clients -= 1
            client.discard()
            if not selection.clients:
                del self._selections[wanted]
            self._rearrange()

    @property
    def queued_bytes(self) -> int:
        """How many bytes wait for all clients."""
        return self._total.bytes

    @property
    def interval(self) -> float:
        """Seconds between two messages to a client: more if many watch, since each message costs about the same,
        however many events it contains."""
        return _INTERVAL * max(1, self.clients / _FEW)

    def close(self) -> None:
        """End all live tails, and refuse new ones."""
        self.closed = True
        for selection in self._selections.values():
            for client in selection.clients:
                client.close()

    def _added(self, tap: T) -> T:
        self._taps.add(tap)
        tap.switch(on=bool(self._selections))
        return tap

    def _rearrange(self) -> None:
        """The selections have changed."""
        self._rare = [each for each in self._selections.values() if each.wanted.rare]
        self._by_namespace.clear()
        for tap in self._taps:
            tap.switch(on=bool(self._selections))
        if not self._selections:
            self._followed.clear()
            self._finished.clear()
            self._bytes = 0

    def read(self, stream: str, events: Sequence[Event]) -> None:
        """See `Watch`: selects the events to follow."""
        now = time.monotonic()
        self._load.add(len(events), now)
        if self._selecting.left(now) <= 0 or self._has_enough(now):
            for selection in self._selections.values():
                if not selection.wanted.rare:
                    selection.miss(len(events))
            return
        began = time.perf_counter()
        for event in events:
            chosen = self._by_namespace.get(event.namespace)
            if chosen is None:
                chosen = self._of_namespace(event.namespace)
            if chosen:
                self._select(event, chosen, now, stream)
        self._selecting.spend(time.perf_counter() - began)

    def _has_enough(self, now: float) -> bool:
        """Whether nothing more is to be selected at present, whatever the events are."""
        return len(self._finished) >= _BACKLOG or all(each.has_enough(now) for each in self._selections.values())

    def attempted(self, step: str, events: Sequence[Event], seconds: float) -> None:
        """See `Watch`."""
        now = time.time()
        for path in self._paths(events):
            record = path.at(step)
            record.time, record.seconds, record.result = now, seconds, None

    def passed(self, step: str, events: Sequence[Event]) -> None:
        """See `Watch`."""
        for path in self._paths(events):
            record = path.at(step)
            record.result, record.body, record.error = "passed", path.event.body, None
            record.attempts += 1

    def failed(self, step: str, events: Sequence[Event], error: DeliveryError) -> None:
        """See `Watch`."""
        text = str(error)
        for path in self._paths(events):
            record = path.at(step)
            record.result, record.error = "failed", text
            record.attempts += 1

    def given_up(self, step: str, events: Sequence[Event], error: DeliveryError, *, stored: bool) -> None:
        """See `Watch`."""
        self._select_late(events)
        text, now = str(error), time.time()
        for path in self._paths(events):
            record = path.at(step)
            record.result = path.outcome = "dead_letter" if stored else "skipped"
            record.error, record.time = text, record.time or now
            record.attempts = max(1, record.attempts)

    def finished(self, pipeline: str, events: Sequence[Event], *, delivered: bool) -> None:
        """See `Watch`."""
        if not delivered:
            self._select_late(events)
        followed = self._followed
        if not followed:
            return
        for event in events:
            path = followed.pop(id(event), None)
            if path is None:
                continue
            path.end(pipeline, delivered=delivered)
            if len(self._finished) < _WAITING:
                self._finished.append(path)
            else:
                self._lose(path)
        if self._finished and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_TICK, self._tick)

    def _paths(self, events: Sequence[Event]) -> list[EventPath]:
        followed = self._followed
        if not followed:
            return []
        return [path for event in events if (path := followed.get(id(event))) is not None]

    def _of_namespace(self, namespace: Namespace) -> list[Selection]:
        if len(self._by_namespace) >= _NAMESPACES:
            self._by_namespace.clear()
        pipeline = self._pipeline_of(namespace)
        chosen = [each for each in self._selections.values() if each.wanted.selects_namespace(namespace, pipeline)]
        self._by_namespace[namespace] = chosen
        return chosen

    def _select(self, event: Event, chosen: Sequence[Selection], now: float, stream: str | None) -> None:
        """Follow an event for those of the selections that want it and have room. Without a stream, it is late."""
        takers: list[Selection] = []
        late = stream is None
        for selection in chosen:
            if selection.wanted.selects(event):
                if selection.takes(event, now) and self._sends.take(len(selection.clients), now):
                    takers.append(selection)
                elif late or not selection.wanted.rare:
                    selection.miss(1)
        if not takers:
            return
        path = EventPath(event, takers, stream, whole=not late)
        while self._followed and (len(self._followed) >= _FOLLOWED or self._bytes + event.size > _FOLLOWED_BYTES):
            # The oldest may never finish: they were not for any pipeline, or their stream has been closed.
            _, oldest = self._followed.popitem(last=False)
            self._lose(oldest)
        self._followed[id(event)] = path
        self._bytes += event.size

    def _select_late(self, events: Sequence[Event]) -> None:
        """Follow events that end early, even if they were left out when they were read: they are what some wait for."""
        if not self._rare:
            return
        now = time.monotonic()
        for event in events:
            if id(event) not in self._followed:
                pipeline = self._pipeline_of(event.namespace)
                chosen = [each for each in self._rare if each.wanted.selects_namespace(event.namespace, pipeline)]
                self._select(event, chosen, now, None)

    def _lose(self, path: EventPath) -> None:
        self._bytes -= path.event.size
        for selection in path.selections:
            if selection.shows(path) if path.outcome else not (selection.wanted.rare or path.event.done):
                selection.miss(1)

    def _tick(self) -> None:
        """Write finished events for the clients, as far as the time allows."""
        self._timer = None
        while self._finished and self._writing.left(time.monotonic()) > 0:
            began = time.perf_counter()
            path = self._finished.popleft()
            self._bytes -= path.event.size
            self._write(path)
            self._writing.spend(time.perf_counter() - began)
        if self._finished:
            self._timer = asyncio.get_running_loop().call_later(_TICK, self._tick)

    def _write(self, path: EventPath) -> None:
        frames: dict[tuple[bool, bool], bytes] = {}
        for selection in path.selections:
            wanted = selection.wanted
            if not selection.shows(path):
                continue
            kind = (wanted.documents, wanted.bodies)
            if kind not in frames:
                steps = self._pipelines.get(path.pipeline, ())
                frames[kind] = path.frame(steps, documents=wanted.documents, bodies=wanted.bodies)
            for client in selection.clients:
                client.put(frames[kind])
