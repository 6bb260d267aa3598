"""Decides which streams to open and where each begins, given the recorded progress. Pure; this is why a changed config
loses nothing.

The recorded progress is a coverage map and the positions of its streams. The config gives a map from namespaces to
streams. Combined, they determine for every namespace how far it is done and which stream delivers it from now on.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, count
from types import MappingProxyType

from bson import Timestamp

from mess.capture.coverage import NEVER, Coverage, Covered, Rule, bounded, combine, simplify
from mess.capture.plan import StreamPlan
from mess.capture.region import Region
from mess.event import Position

FAR_BEHIND = 5
"""How many seconds of cluster time namespaces may lag behind the others of their stream without getting their own
stream."""

Readers = Mapping[tuple[str, Timestamp], set[str | None]]
"""The streams that have read the regions that a stream is to deliver from a given time on."""

_LAST = Timestamp(2**32 - 1, 2**32 - 1)


@dataclass(frozen=True, slots=True)
class Reached:
    """A stream's recorded position, and the hash of the plan with which it was read."""

    plan: str
    position: Position


@dataclass(frozen=True, slots=True)
class Recorded:
    """The recorded progress of a relay: its coverage map, and the positions of the map's streams by name."""

    coverage: Coverage = ()
    reached: Mapping[str, Reached] = field(default_factory=dict)

    def folded(self) -> Coverage:
        """The map with every stream's position merged into it: how far each namespace is done."""
        return tuple(Rule(rule.region, self._fold(rule.value)) for rule in self.coverage)

    def _fold(self, covered: Covered) -> Covered:
        reached = self.reached.get(covered.stream or "")
        time = None if reached is None else reached.position.time
        if covered.time is None or time is None or time <= covered.time:
            return covered
        return replace(covered, time=time)


@dataclass(frozen=True, slots=True)
class Begin:
    """Where namespaces begin that were never covered: at `time`; `oldest` is whether that is the oldest change there
    is."""

    time: Timestamp
    oldest: bool = False


@dataclass(frozen=True, slots=True)
class Lost:
    """Which positions are no longer in the oplog: those before `before` (None if unknown, or if there are none).

    `go_on` is the time at which their namespaces continue; None if they wait for a decision.
    """

    before: Timestamp | None = None
    go_on: Timestamp | None = None


@dataclass(frozen=True, slots=True)
class StreamStart:
    """A stream and where it begins.

    `latest` is set if the position is that of the oldest change there is, which MongoDB may discard before it is read:
    the latest time at which the stream may begin in that case. `joins` names the stream that this one catches up with.
    A stream that `waits` is not opened: its position is no longer in the oplog. `new` is whether none of its namespaces
    was ever covered.
    """

    plan: StreamPlan
    position: Position
    latest: Timestamp | None = None
    joins: str | None = None
    waits: bool = False
    new: bool = False

    @property
    def name(self) -> str:
        """The stream's name."""
        return self.plan.name


@dataclass(frozen=True, slots=True)
class Skipped:
    """Namespaces of a stream whose changes since a time are lost, and which continue at a later one."""

    stream: str
    regions: tuple[Region, ...]
    since: Timestamp
    until: Timestamp


@dataclass(frozen=True, slots=True)
class Arrangement:
    """The streams to run, their coverage map, and what was skipped."""

    starts: tuple[StreamStart, ...]
    coverage: Coverage
    skipped: tuple[Skipped, ...] = ()

    def positions(self) -> dict[str, tuple[str, Position]]:
        """The plan's hash and the position of every stream to open, by name."""
        return {start.name: (start.plan.hash, start.position) for start in self.starts if not start.waits}


def arrange(
    plans: Sequence[StreamPlan],
    assigned: Sequence[Rule[str | None]],
    recorded: Recorded,
    begin: Begin,
    lost: Lost = Lost(),
) -> Arrangement:
    """The streams for `plans`, each at the oldest position that its namespaces need.

    `assigned` maps namespaces to streams (`mess.capture.plan.assignments`). Namespaces that were never covered begin as
    `begin` says. Those that lag far behind the others of their stream get a separate stream until they have caught up;
    those whose position is lost never affect the others. A stream whose plan is unchanged continues from its resume
    token, any other by cluster time, since a token is valid only for the stream that produced it.
    """
    due = combine(simplify(recorded.folded(), NEVER), assigned, lambda covered, stream: _due(covered, stream, begin))
    # Merge regions of globs only if there would be too many.
    fresh = {rule.region for rule in due if rule.value.new}
    coverage = bounded(simplify([Rule(rule.region, rule.value.covered) for rule in due], NEVER), assigned)
    readers: dict[tuple[str, Timestamp], set[str | None]] = {}
    for rule in due:
        if rule.value.covered.stream is not None:
            readers.setdefault((rule.value.covered.stream, _time_of(rule.value.covered)), set()).add(rule.value.reader)
    starts: list[StreamStart] = []
    rules = list(coverage)
    skipped: list[Skipped] = []
    for plan in plans:
        divided = divide(plan, rules, recorded.reached, begin, lost, fresh, readers)
        starts += divided.starts
        rules = list(divided.coverage)
        skipped += divided.skipped
    return Arrangement(tuple(starts), simplify(rules, NEVER), tuple(skipped))


@dataclass(frozen=True, slots=True)
class _Due:
    """When a stream starts to deliver a region, and the stream that has read it so far."""

    covered: Covered
    reader: str | None = None
    new: bool = False


def _due(covered: Covered | None, stream: str | None, begin: Begin) -> _Due:
    time = None if covered is None else covered.time
    if stream is not None and time is None:
        return _Due(Covered(stream, begin.time), new=True)
    return _Due(Covered(stream, time), None if covered is None else covered.stream)


def divide(
    plan: StreamPlan,
    coverage: Sequence[Rule[Covered]],
    reached: Mapping[str, Reached],
    begin: Begin,
    lost: Lost = Lost(),
    fresh: frozenset[Region] | set[Region] = frozenset(),
    readers: Readers = MappingProxyType({}),
    taken: Collection[str] = (),
) -> Arrangement:
    """The streams that one plan needs: its own, one for namespaces that lag far behind, and one that waits for those
    whose position is lost.

    `coverage` is the whole map, in which `plan` has its namespaces. `fresh` are regions that no stream has read yet.
    `readers` gives the streams that have read the others. `taken` are names that other streams have.
    """
    own = [rule for rule in coverage if rule.value.stream == plan.name and rule.value.time is not None]
    # A stream that is to begin with the oldest change begins with the next one if MongoDB has discarded it.
    kept = fresh if begin.oldest else ()
    gone = [rule for rule in own if lost.before is not None and _time(rule) < lost.before and rule.region not in kept]
    skipped: list[Skipped] = []
    here = set(fresh)  # new namespaces, and those that continue from now, do not show how far the stream is
    alive = [rule for rule in own if rule not in gone]
    reached = {name: each for name, each in reached.items() if not _is_lost(each.position, lost)}
    if gone and lost.go_on is not None:
        since = min(map(_time, gone))
        skipped.append(
            Skipped(stream=plan.name, regions=tuple(rule.region for rule in gone), since=since, until=lost.go_on)
        )
        here |= {rule.region for rule in gone}
        alive += [replace(rule, value=replace(rule.value, time=lost.go_on)) for rule in gone]
        gone = []
    known = [_time(rule) for rule in alive if rule.region not in here and not rule.region.of_databases]
    anchor = max(known, default=min(map(_time, alive), default=_LAST))
    bound = Timestamp(max(0, anchor.time - FAR_BEHIND), 0)
    behind = [rule for rule in alive if _time(rule) < bound]
    near = [rule for rule in alive if _time(rule) >= bound]

    starts: list[StreamStart] = []
    names: dict[Region, Covered] = {rule.region: rule.value for rule in alive}
    if near:
        starts.append(_start(plan, near, reached, begin, fresh, readers))
    if behind:
        name = _free(f"{main_stream(plan.name)} (catching up)", {plan.name, *taken})
        narrowed = plan.narrowed(name, [rule.region for rule in behind])
        starts.append(replace(_start(narrowed, behind, reached, begin, fresh, readers), joins=plan.name))
        names |= {rule.region: Covered(name, rule.value.time) for rule in behind}
    if gone:
        name = _free(f"{main_stream(plan.name)} (history lost)", {plan.name, *taken}) if near else plan.name
        waits = plan.narrowed(name, [rule.region for rule in gone]) if near else plan
        starts.append(StreamStart(waits, Position(None, min(map(_time, gone))), waits=True))
        names |= {rule.region: Covered(name, rule.value.time) for rule in gone}
    mine = {id(rule) for rule in own}
    return Arrangement(
        tuple(starts),
        tuple(replace(rule, value=names[rule.region]) if id(rule) in mine else rule for rule in coverage),
        tuple(skipped),
    )


def _is_lost(position: Position, lost: Lost) -> bool:
    return lost.before is not None and position.time is not None and position.time < lost.before


def _start(
    plan: StreamPlan,
    rules: Sequence[Rule[Covered]],
    reached: Mapping[str, Reached],
    begin: Begin,
    fresh: frozenset[Region] | set[Region],
    readers: Readers,
) -> StreamStart:
    time = min(map(_time, rules))
    own = reached.get(plan.name)
    # Changes of a transaction share one cluster time: another stream may have read only some of those at that time.
    others = [rule for rule in rules if readers.get((str(rule.value.stream), _time(rule))) != {plan.name}]
    if (
        own is not None
        and own.plan == plan.hash
        and own.position.token is not None
        and (own.position.time is None or own.position.time <= time)
        and all(own.position.time is not None and own.position.time < _time(rule) for rule in others)
    ):
        return StreamStart(plan, own.position)
    new = all(rule.region in fresh for rule in rules)
    latest = None
    if begin.oldest and time == begin.time:
        latest = min((_time(rule) for rule in rules if rule.region not in fresh), default=_LAST)
    return StreamStart(plan, Position(None, time), latest, new=new)


def main_stream(name: str) -> str:
    """The name of the config's stream that this stream is, or is a part of."""
    return _PART.sub("", name)


_PART = re.compile(r" \((?:catching up|history lost)(?: \d+)?\)$")


def _free(name: str, taken: Collection[str]) -> str:
    numbered = (f"{name[:-1]} {number})" for number in count(2))
    return next(each for each in chain([name], numbered) if each not in taken)


def _time(rule: Rule[Covered]) -> Timestamp:
    return _time_of(rule.value)


def _time_of(covered: Covered) -> Timestamp:
    if covered.time is None:
        raise AssertionError("a region that was never covered has no time")
    return covered.time
