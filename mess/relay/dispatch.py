"""From a stream's batch to the lanes: registers every event, routes it by namespace, and assigns it to a lane by
key."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import bson
from bson import Int64, ObjectId, Timestamp
from bson.binary import Binary

from mess.capture.source import Batch
from mess.event import Event, Namespace
from mess.formats.paths import MISSING, Path, get
from mess.relay.carried import Carried
from mess.relay.gap_events import GapEvent
from mess.relay.lane import Lane
from mess.relay.window import Window

_HASHED_DIRECTLY = frozenset({str, int, Int64, ObjectId, Binary})

# 0, false and "" have the hash 0, which is the barriers'. Small numbers would be the hashes of other values.
_OF_ZERO = 0x51E5_7A11_0C0A_57ED
_OF_NO_BSON = 0x3D0C_5EED_0FF0_B50A
_ROUTES_KEPT = 10_000
_LOOK_AGAIN = 0.05  # seconds


Ordering = str | Path
"""What events keep their order by: their `document`, their `collection`, `none`, or the path of a value in the change
event."""


class Route(NamedTuple):
    """Where the events of one namespace go.

    `operations` is None if all are wanted. `since` excludes events that were committed before it: another stream has
    already delivered them, or they are not wanted.
    """

    lanes: Sequence[Lane]
    order: Ordering
    operations: frozenset[str] | None
    since: Timestamp | None = None


class Router(Protocol):
    """Knows where events go."""

    @property
    def lanes(self) -> Sequence[Lane]:
        """All lanes used by routes so far."""

    @property
    def by_value(self) -> bool:
        """Whether some events keep their order by a value."""

    @property
    def forks(self) -> bool:
        """Whether events may take more than one pipeline."""

    def route(self, namespace: Namespace) -> Route | None:
        """The route for a namespace's events; None if this stream does not deliver them."""

    def route_gap(self, affected: Namespace) -> Route | None:
        """The route for the report of a gap that affects these namespaces, named as in the config; None if they have no
        pipeline."""

    def route_rename(self, source: Namespace, target: Namespace, time: Timestamp | None) -> Route | None:
        """The route for a rename of a collection at a cluster time."""


def id_hash(key: Mapping[str, Any]) -> int:
    """A hash of a document key's `_id`: equal ids give equal hashes. Integers and doubles with the same value are
    equal.

    Values that Python cannot hash, or that do not equal themselves, are hashed as BSON. What BSON cannot hold either,
    which only others than MongoDB send, has one hash for all.
    """
    value = key.get("_id")
    if type(value) in _HASHED_DIRECTLY or (type(value) is float and value == value):
        return hash(value)
    try:
        return hash(bson.encode({"": value}))
    except Exception:  # bson raises many kinds
        return _OF_NO_BSON


def _target(event: Event) -> Namespace:
    target = event.change.get("to") or {}
    return Namespace(target.get("db", ""), target.get("coll", ""))


def ordering_key(event: Event, order: Ordering) -> int:
    """The number that determines which events keep their order: events with the same number are delivered in order.

    It is 0 for barriers. Values that equal each other as ids give the same number, see `id_hash`.
    """
    if event.key is None:
        return 0
    if order == "document":
        return hash(event.namespace) ^ id_hash(event.key)
    if isinstance(order, str):
        return hash(event.namespace) if order == "collection" else id(event)
    value = get(event.change, order)
    return 0 if value is MISSING else id_hash({"_id": value}) or _OF_ZERO


class Dispatcher:
    """Feeds one stream's events to the lanes of its pipelines, in order, as far as the window admits them.

    It waits while half of the lanes are full: an event that is processed soon after it was decoded is still in the
    cache, which more than halves the work, and memory use stays small. However, lanes that are held up must not hold up
    others before the window is full. So they do not count; an empty lane does not wait for long; and if all lanes are
    held up, events of another pipeline may still create new ones.

    Nothing is delivered again that is `carried` over from streams that were arranged anew.
    """

    def __init__(self, window: Window, router: Router) -> None:
        self._window = window
        self._router = router
        self._routes: dict[Namespace, Route | None] = {}
        self._turn = 0
        self.carried: Carried | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def lanes(self) -> Sequence[Lane]:
        """All lanes that events have taken so far."""
        return self._router.lanes

    def wants_more(self) -> None:
        """Called when a lane wants more events."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def forget_routes(self) -> None:
        """Ask the router again where each namespace's events go."""
        self._routes.clear()

    def resume(self, lanes: Iterable[Lane]) -> None:
        """Move the unfinished events of lanes that have stopped, in stream order, to where the router sends them now:
        in front of the events that have been dispatched since. Their new lanes must not have begun.

        An event continues at the step that it has reached, unless what has been done with it is no longer what its
        pipeline does: then it begins again with the original change.
        """
        found = {id(event): (lane.pipeline, position) for lane in lanes for position, event in lane.unfinished()}
        moved: dict[Lane, list[tuple[int, Event]]] = {}
        left_out: list[Event] = []
        for event in self._window.unfinished():
            if id(event) not in found:
                continue
            earlier, position = found[id(event)]
            namespace = event.namespace
            route = self._known(namespace)
            if event.key is None:
                route = self._route_of_barrier(event, route)
            if route is None or not self._wanted(event, route):
                left_out.append(event)
                continue
            event.ordering_key = ordering_key(event, route.order)
            lane = self._lane(event, route)
            if not lane.pipeline.continues(earlier, position):
                position, event.body = 0, event.change
            moved.setdefault(lane, []).append((position, event))
        for lane, events in moved.items():
            lane.put_first(events)
        self._window.done(left_out)

    async def dispatch(self, batch: Batch) -> None:
        """Dispatch a whole batch; returns when its last event has been admitted to the window."""
        events: Sequence[Event] = batch.events
        if self.carried is not None:
            events = self.carried.undone(events)
        start = 0
        for index in self._barriers(events):
            await self._flow(events[start:index])
            await self._barrier(events[index])
            start = index + 1
        await self._flow(events[start:] if start else events)
        self._window.mark(batch.position, batch.reached)
        # The next one to read these events again would have to know it, too.
        if self.carried is not None and self.carried.is_past(self._window.position):
            self.carried = None

    def _barriers(self, events: Sequence[Event]) -> list[int]:
        """The indexes of events that neither overtake an earlier one nor are overtaken by a later one."""
        if self._router.by_value:
            return [index for index, event in enumerate(events) if event.key is None or self._lacks_value(event)]
        return [index for index, event in enumerate(events) if event.key is None]

    def _lacks_value(self, event: Event) -> bool:
        """Whether an event lacks the value by which its collection's events keep their order."""
        namespace = event.namespace
        route = self._known(namespace)
        if route is None or isinstance(route.order, str) or not self._wanted(event, route):
            return False
        return get(event.change, route.order) is MISSING

    async def _flow(self, events: Sequence[Event]) -> None:
        while events:
            await self._backpressure()
            count = await self._window.admit(events)
            self._spread(events[:count] if count < len(events) else events)
            events = events[count:]

    async def _backpressure(self) -> None:
        lanes = self._router.lanes
        while self._lanes_full(lanes):
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(_LOOK_AGAIN):
                    await self._waiter
            except TimeoutError:
                if any(lane.idle for lane in lanes):
                    return

    def _lanes_full(self, lanes: Sequence[Lane]) -> bool:
        full = sum([lane.full for lane in lanes])
        if 2 * full <= len(lanes):
            return False
        held_up = sum([lane.held_up for lane in lanes])
        if held_up == len(lanes):
            return not self._router.forks
        return 2 * (full - held_up) > len(lanes) - held_up

    async def _barrier(self, event: Event) -> None:
        await self._window.drained()
        await self._flow([event])
        await self._window.drained()

    def _spread(self, events: Sequence[Event]) -> None:
        routes = self._routes
        touched: set[Lane] = set()
        left_out: list[Event] = []
        for event in events:
            namespace = event.namespace
            try:
                route = routes[namespace]
            except KeyError:
                route = self._find(namespace)
            if event.key is None:
                route = self._route_of_barrier(event, route)
            if route is None or not self._wanted(event, route):
                left_out.append(event)
                continue
            event.ordering_key = ordering_key(event, route.order)
            lane = self._lane(event, route)
            lane.events.append(event)
            touched.add(lane)
        if self.carried is not None:
            for lane in touched:
                self.carried.advance(lane)
        for lane in touched:
            lane.wake()
        if left_out:
            self._window.done(left_out)

    def _route_of_barrier(self, event: Event, route: Route | None) -> Route | None:
        if event.operation == "rename":
            return self._router.route_rename(event.namespace, _target(event), event.change.get("clusterTime"))
        return self._router.route_gap(event.affected) if isinstance(event, GapEvent) else route

    def _known(self, namespace: Namespace) -> Route | None:
        return self._routes[namespace] if namespace in self._routes else self._find(namespace)

    def _find(self, namespace: Namespace) -> Route | None:
        if len(self._routes) >= _ROUTES_KEPT:
            self._routes.clear()
        route = self._routes[namespace] = self._router.route(namespace)
        return route

    def _lane(self, event: Event, route: Route) -> Lane:
        if route.order == "none":
            self._turn += 1
            return route.lanes[self._turn % len(route.lanes)]
        return route.lanes[event.ordering_key % len(route.lanes)]

    @staticmethod
    def _wanted(event: Event, route: Route) -> bool:
        if route.operations is not None and event.operation not in route.operations:
            return False
        if route.since is None:
            return True
        time = event.change.get("clusterTime")
        return not isinstance(time, Timestamp) or time >= route.since
