"""Operators' changes to a relay's stored positions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from bson import Timestamp

from mess.capture.arrangement import Recorded, main_stream
from mess.capture.coverage import NEVER, Coverage, Covered, Rule, combine, simplify, to_json
from mess.capture.region import Region
from mess.errors import ConfigError, DamagedState, StateError
from mess.relay.resets import record_reset, record_unknown, undone
from mess.relay.resuming import AHEAD, recorded_in, with_decisions
from mess.state.store import Checkpoint, StateStore

NOT_WATCHED = "(not watched)"
"""Stands for the namespaces that no stream covers any more; if they come back, they continue where they stopped."""
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Row:
    """A stream, what it covers, up to when all of that has been processed, and when the position was stored."""

    stream: str
    namespaces: str
    time: Timestamp
    updated: datetime | None = None


@dataclass(frozen=True, slots=True)
class Removed:
    """What `forget` removed: up to when these namespaces of a stream were processed.

    `regions` is empty if resuming the stream at `time` restores everything; otherwise it lists what to resume at
    `time`.
    """

    stream: str
    namespaces: str
    time: Timestamp
    regions: tuple[Region, ...] = ()


async def rows(store: StateStore) -> list[Row]:
    """Every stream's position. Raises DamagedState."""
    stored = await store.positions()
    updated = {each.stream: each.updated for each in stored.checkpoints}
    return [replace(row, updated=updated.get(row.stream)) for row in _rows(recorded_in(stored, store.relay))]


async def resume_at(
    store: StateStore,
    assigned: Sequence[Rule[str | None]],
    time: Timestamp,
    *,
    stream: str | None,
    force: bool,
    announce: bool = False,
) -> dict[str, Timestamp | None]:
    """Make `stream`, or every stream, resume at `time`; returns where each would have resumed before, None if it had no
    position. What that skips is recorded as a gap, of which receivers are told if `announce` says so.

    For a stopped stream, this also works while the relay runs; anything else needs `force` then. Raises ConfigError for
    a stream that neither the state nor the config (`assigned`) knows, DamagedState, StateError.
    """
    if stream is not None and await _is_stopped(store, stream):
        before = _before(await _recorded(store), assigned, [stream])
        await _decide(store, stream, time)
        return before
    await _take_over(store, force=force)
    recorded = await _recorded(store)
    known = {rule.value for rule in assigned if rule.value is not None} | _streams(recorded)
    chosen = _chosen(known, stream)

    def moved(covered: Covered | None, own: str | None) -> Covered:
        if own in chosen:
            return Covered(own, time)
        if covered is None or _name(covered) not in chosen or covered.time is None:
            return covered or NEVER
        return Covered(covered.stream, time)

    rules = [Rule(rule.region, rule.value) for rule in combine(recorded.folded(), assigned, moved)]
    await record_reset(store, recorded, chosen, time, unwatched=NOT_WATCHED, announce=announce)
    await _decided(store, chosen, time)
    await _store(store, tuple(rules), recorded, chosen)
    await undone(store, chosen, time)
    return _before(recorded, assigned, chosen)


async def resume_regions_at(
    store: StateStore, assigned: Sequence[Rule[str | None]], time: Timestamp, regions: Sequence[Region], *, force: bool
) -> dict[str, Timestamp | None]:
    """Make these regions resume at `time`, including those that no stream covers at present. Regions that are processed
    only up to an earlier time do not change. Returns the same as `resume_at`, for the affected streams.

    Raises DamagedState, StateError.
    """
    await _take_over(store, force=force)
    recorded = await _recorded(store)
    concerned: set[str] = set()

    def moved(known: tuple[Covered, str | None] | None, chosen: bool | None) -> Covered:
        covered, own = known or (NEVER, None)
        if not chosen:
            return covered
        found = Covered(own, time) if covered.time is None else Covered(covered.stream, min(covered.time, time))
        concerned.add(_name(found))
        return found

    rules = combine(_known(recorded, assigned), [Rule(region, True) for region in regions], moved)
    await _store(store, tuple(rules), recorded, concerned)
    await undone(store, concerned, time, regions)
    return _before(recorded, assigned, concerned)


async def forget(
    store: StateStore,
    assigned: Sequence[Rule[str | None]],
    now: Callable[[], Awaitable[Timestamp]],
    *,
    stream: str | None,
    force: bool,
    begin: Timestamp | None = None,
    announce: bool = False,
) -> list[Removed]:
    """Make `stream`, or every stream, start afresh; returns what was stored of them.

    They will begin at `begin`, None for the time of the next start. What that skips is recorded as a gap, of which
    receivers are told if `announce` says so.

    A stopped stream continues at `now`, also while the relay runs; anything else needs `force` then. Damaged records
    can be forgotten. Raises ConfigError for a stream that has no position, StateError.
    """
    if stream is not None and await _is_stopped(store, stream):
        removed = [Removed(row.stream, row.namespaces, row.time) for row in await rows(store) if row.stream == stream]
        await _decide(store, stream, await now())
        return removed
    await _take_over(store, force=force)
    try:
        recorded = await _recorded(store)
    except DamagedState:
        if stream is None:
            await store.arrange([], [])
        elif not await store.remove_position(stream):
            raise
        await record_unknown(store, stream)
        return []
    chosen = _chosen(_streams(recorded), stream)
    rules = tuple(Rule(rule.region, NEVER if _name(rule.value) in chosen else rule.value) for rule in recorded.folded())
    await record_reset(store, recorded, chosen, begin, unwatched=NOT_WATCHED, announce=announce)
    await _decided(store, chosen, None)
    await _store(store, rules, recorded, chosen)
    return _removed(recorded, assigned, chosen)


def verify_resumable(time: Timestamp, latest: Timestamp) -> None:
    """Raise ConfigError for a time beyond the server's `latest`: changes until then would never be delivered."""
    if time.time > latest.time + AHEAD:
        raise ConfigError(
            f"{time.as_datetime().isoformat()} is in the future of the MongoDB server "
            f"({latest.as_datetime().isoformat()}), and no stream can resume there"
        )


def _removed(recorded: Recorded, assigned: Sequence[Rule[str | None]], chosen: Collection[str]) -> list[Removed]:
    before = _before(recorded, assigned, chosen)
    whole: dict[str, list[Region]] = {}
    apart: dict[str, list[Rule[Timestamp]]] = {}
    for rule in _known(recorded, assigned):
        covered, own = rule.value
        name = _name(covered)
        if covered.time is None or name not in chosen:
            continue
        if own is not None and own in chosen:
            whole.setdefault(own, []).append(rule.region)
        else:
            apart.setdefault(name, []).append(Rule(rule.region, covered.time))
    removed = [
        Removed(name, _listed(regions), time)
        for name, regions in sorted(whole.items())
        if (time := before[name]) is not None
    ]
    for name, rules in sorted(apart.items()):
        regions = tuple(rule.region for rule in rules)
        removed.append(
            Removed(stream=name, namespaces=_listed(regions), time=min(rule.value for rule in rules), regions=regions)
        )
    return removed


def _before(
    recorded: Recorded, assigned: Sequence[Rule[str | None]], chosen: Collection[str]
) -> dict[str, Timestamp | None]:
    """Where each stream affected by `resume_at` would have resumed, including the parts that lag behind it and the
    namespaces that the config now gives to it."""
    found: dict[str, Timestamp | None] = {}
    for rule in _known(recorded, assigned):
        covered, own = rule.value
        name = _name(covered)
        if own is not None and own in chosen:
            name = own
        elif covered.time is None or name not in chosen:
            continue
        elif main_stream(name) in chosen:
            name = main_stream(name)
        times = [time for time in (covered.time, found.get(name)) if time is not None]
        found[name] = min(times, default=None)
    return dict(sorted(found.items()))


def _known(recorded: Recorded, assigned: Sequence[Rule[str | None]]) -> list[Rule[tuple[Covered, str | None]]]:
    """How far each region is done, and the stream that the config gives it to."""
    return combine(recorded.folded(), assigned, lambda covered, own: (covered or NEVER, own))


async def _is_stopped(store: StateStore, stream: str) -> bool:
    return any(gap.open and gap.stream == stream for gap in await store.gaps())


async def _decide(store: StateStore, stream: str, time: Timestamp) -> None:
    for gap in await store.gaps():
        if gap.open and gap.stream == stream:
            await store.record_gap(replace(gap, resume=time))
            return


async def _decided(store: StateStore, chosen: Collection[str], time: Timestamp | None) -> None:
    """Cancel earlier decisions about stopped streams that contradict the new one."""
    for gap in await store.gaps():
        if gap.open and (gap.stream in chosen or main_stream(gap.stream) in chosen) and gap.resume != time:
            await store.record_gap(replace(gap, resume=time))


async def _take_over(store: StateStore, *, force: bool) -> None:
    other = None if force else await store.alive()
    if other is not None:
        raise StateError(
            f"relay {store.relay!r} is running ({other}), and only it may write its positions. Stop it first, or use "
            f"--force, which makes it stop"
        )
    await store.take_over()


async def _recorded(store: StateStore) -> Recorded:
    return with_decisions(recorded_in(await store.positions(), store.relay), await store.gaps())


async def _store(store: StateStore, coverage: Coverage, recorded: Recorded, chosen: Collection[str]) -> None:
    now = datetime.now(timezone.utc)
    checkpoints = [
        Checkpoint(stream=name, plan=reached.plan, position=reached.position, updated=now)
        for name, reached in recorded.reached.items()
        if name not in chosen
    ]
    await store.arrange(to_json(simplify(coverage, NEVER)), checkpoints)


def _rows(recorded: Recorded) -> list[Row]:
    times: dict[str, Timestamp] = {}
    regions: dict[str, list[Region]] = {}
    for rule in recorded.folded():
        if rule.value.time is not None:
            name = _name(rule.value)
            times[name] = min(rule.value.time, times.get(name, rule.value.time))
            regions.setdefault(name, []).append(rule.region)
    return [Row(name, _listed(regions[name]), times[name]) for name in sorted(times)]


def _listed(regions: Sequence[Region]) -> str:
    more = len(regions) - _SHOWN
    return ", ".join(map(str, regions[:_SHOWN])) + (f" and {more} more" if more > 0 else "")


def _streams(recorded: Recorded) -> set[str]:
    return {_name(rule.value) for rule in recorded.coverage if rule.value.time is not None}


def _name(covered: Covered) -> str:
    return covered.stream or NOT_WATCHED


def _chosen(known: Collection[str], stream: str | None) -> set[str]:
    if stream is None:
        return set(known)
    found = {name for name in known if stream in (name, main_stream(name))}
    if not found:
        names = ", ".join(sorted(known)) or "none"
        raise ConfigError(f"no position of stream {stream!r} is stored; known streams: {names}")
    return found
