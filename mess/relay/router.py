"""From the config's scopes to lanes: which pipeline and which lanes a namespace's events take."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from bson import Timestamp

from mess.capture.region import Region
from mess.config.model import Config, Order, OrderBy
from mess.config.scope import Resolved, orders_by_value, resolve
from mess.event import Namespace
from mess.formats.paths import parse_path
from mess.relay.dispatch import Ordering, Route
from mess.relay.lane import Lane
from mess.relay.pipeline import Pipeline

Since = Callable[[Namespace], Timestamp | None]
"""The cluster time from which a namespace's events are delivered; None if they are not."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a stream delivers, and what all streams of the relay together deliver; `regions` are the stream's."""

    own: Since
    any: Since
    regions: Callable[[], Sequence[Region]] = tuple


MakeLane = Callable[[Pipeline], Lane]
"""Creates a lane for a pipeline."""


def ordering(order: Order) -> Ordering:
    """What events keep their order by, from the config's option."""
    return parse_path(order.by) if isinstance(order, OrderBy) else order


class LaneGroups:
    """The lanes of one stream, which has room for that many events. They are created when first needed: for each
    pipeline, order and number of lanes. Events that keep their order by a value share them, whichever field it is.

    `retired` lanes get no more events, and finish what they have begun."""

    def __init__(self, make_lane: MakeLane, room: int) -> None:
        self.lanes: list[Lane] = []
        self.retired: list[Lane] = []
        self._make_lane = make_lane
        self._room = room
        self._groups: dict[tuple[str, str, int], list[Lane]] = {}

    def of(self, pipeline: Pipeline, order: Ordering, concurrency: int | None) -> Sequence[Lane]:
        """The lanes for events with these options."""
        count = concurrency or pipeline.lanes(self._room)
        key = (pipeline.name, order if isinstance(order, str) else "by", count)
        if key not in self._groups:
            self._groups[key] = [self._make_lane(pipeline) for _ in range(count)]
            self.lanes += self._groups[key]
        return self._groups[key]

    def retire(self, pipelines: Collection[str]) -> None:
        """From now on, these pipelines have new lanes."""
        for key in [key for key in self._groups if key[0] in pipelines]:
            self.retired += self._groups.pop(key)
        self.lanes[:] = [lane for lanes in self._groups.values() for lane in lanes]


class ScopeRouter:
    """The routes of one stream, which begins at `begin` and delivers what `claim` selects, to the lanes of `groups`.

    Events whose pipeline is not in `pipelines` are not delivered.
    """

    def __init__(
        self,
        config: Config,
        claim: Claim,
        begin: Timestamp | None,
        pipelines: Mapping[str, Pipeline],
        groups: LaneGroups,
    ) -> None:
        self._config = config
        self._claim = claim
        self._begin = begin
        self._pipelines = pipelines
        self.by_value = orders_by_value(config)
        self._groups = groups

    @property
    def lanes(self) -> Sequence[Lane]:
        """See `mess.relay.dispatch.Router`."""
        return self._groups.lanes

    @property
    def forks(self) -> bool:
        """See `mess.relay.dispatch.Router`."""
        return len(self._pipelines) > 1

    def change(self, config: Config) -> None:
        """Find routes by this config from now on."""
        self._config = config
        self.by_value = orders_by_value(config)

    def route(self, namespace: Namespace) -> Route | None:
        """See `mess.relay.dispatch.Router`."""
        since = self._claim.own(namespace)
        if since is None:
            return None
        options = self._delivered(namespace)
        if options is None:
            return None
        operations = None if options.operations is None else frozenset(options.operations)
        later = since if self._begin is not None and since > self._begin else None
        return self._route(options, operations, later)

    def route_gap(self, affected: Namespace) -> Route | None:
        """See `mess.relay.dispatch.Router`."""
        options = self._delivered(affected)
        return None if options is None else self._route(options)

    def _delivered(self, namespace: Namespace) -> Resolved | None:
        options = resolve(self._config, *namespace)
        return None if options is None or options.pipeline.name not in self._pipelines else options

    def _route(
        self, options: Resolved, operations: frozenset[str] | None = None, since: Timestamp | None = None
    ) -> Route:
        order = ordering(options.order)
        lanes = self._groups.of(self._pipelines[options.pipeline.name], order, options.concurrency)
        return Route(lanes=lanes, order=order, operations=operations, since=since)

    def route_rename(self, source: Namespace, target: Namespace, time: Timestamp | None) -> Route | None:
        """By the old name if that is already delivered at `time` (another stream may see the event too), else by the
        new one."""
        since = None if resolve(self._config, *source) is None else self._claim.any(source)
        begun = since is not None and (time is None or since <= time)
        return self.route(source if begun else target)
