"""From the config's scopes to lanes: which pipeline and which lanes a namespace's events take."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bson import Timestamp

from mess.capture.region import Region
from mess.config.model import Config, Order
from mess.config.scope import Resolved, resolve
from mess.event import Namespace
from mess.relay.dispatch import Route
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


class LaneGroups:
    """The lanes of one stream, which has room for that many events. They are created when first needed: for each
    pipeline, order and number of lanes."""

    def __init__(self, make_lane: MakeLane, room: int) -> None:
        self.lanes: list[Lane] = []
        self._make_lane = make_lane
        self._room = room
        self._groups: dict[tuple[str, Order, int], list[Lane]] = {}

    def of(self, pipeline: Pipeline, order: Order, concurrency: int | None) -> Sequence[Lane]:
        """The lanes for events with these options."""
        count = concurrency or pipeline.lanes(self._room)
        key = (pipeline.name, order, count)
        if key not in self._groups:
            self._groups[key] = [self._make_lane(pipeline) for _ in range(count)]
            self.lanes += self._groups[key]
        return self._groups[key]


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
        self.forks = len(pipelines) > 1
        self._groups = groups

    @property
    def lanes(self) -> Sequence[Lane]:
        """See `mess.relay.dispatch.Router`."""
        return self._groups.lanes

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
        return Route(lanes=self._lanes(options), order=options.order, operations=operations, since=later)

    def route_gap(self, affected: Namespace) -> Route | None:
        """See `mess.relay.dispatch.Router`."""
        options = self._delivered(affected)
        return None if options is None else Route(lanes=self._lanes(options), order=options.order, operations=None)

    def _delivered(self, namespace: Namespace) -> Resolved | None:
        options = resolve(self._config, *namespace)
        return None if options is None or options.pipeline.name not in self._pipelines else options

    def _lanes(self, options: Resolved) -> Sequence[Lane]:
        return self._groups.of(self._pipelines[options.pipeline.name], options.order, options.concurrency)

    def route_rename(self, source: Namespace, target: Namespace, time: Timestamp | None) -> Route | None:
        """By the old name if that is already delivered at `time` (another stream may see the event too), else by the
        new one."""
        since = None if resolve(self._config, *source) is None else self._claim.any(source)
        begun = since is not None and (time is None or since <= time)
        return self.route(source if begun else target)
