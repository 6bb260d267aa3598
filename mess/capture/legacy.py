"""Converts the checkpoints of MESS 0.1 into a coverage map. Pure.

With each stream's position, version 0.1 stored what the stream selected (`entries`: a database and a collection, as
names or globs, and exceptions from them), and since when it wanted what (`rules`: the same, with a time and a rank).
For a namespace, the oldest time of the rules with the lowest rank applied, or the stream's position if that was later.
What was removed from the config was kept under `retired: <stream>`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bson import Timestamp

from mess.capture.arrangement import Reached, Recorded
from mess.capture.coverage import NEVER, Covered, Rule, simplify
from mess.capture.region import Region, fits
from mess.config.scope import is_glob
from mess.event import Namespace
from mess.state.records import LegacyCheckpoint

_RETIRED = "retired: "


@dataclass(frozen=True, slots=True)
class _Entry:
    db: str
    coll: str
    apart_dbs: tuple[str, ...]
    apart_colls: tuple[str, ...]
    rank: int = 0

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> _Entry:
        names = (stored["db"], stored["coll"], *stored["apart_dbs"], *stored["apart_colls"])
        if not all(isinstance(name, str) for name in names):
            raise TypeError("a name is not text")
        apart = tuple(stored["apart_dbs"]), tuple(stored["apart_colls"])
        return cls(stored["db"], stored["coll"], *apart, stored.get("rank", 0))

    def selects(self, namespace: Namespace) -> bool:
        db, coll = namespace
        if coll and not _selects(coll, self.coll, self.apart_colls):
            return False
        return _selects(db, self.db, self.apart_dbs)

    def region(self) -> Region:
        return Region.of(self.db, self.coll)

    def touches(self, region: Region) -> bool:
        """Whether it may select something in a region given by one pattern for the database and one for the
        collection."""
        if region.dbs[0] in self.apart_dbs or region.colls[0] in self.apart_colls:
            return False
        return self.region().intersection(region) is not None

    def order(self) -> tuple[Any, ...]:
        # Each glob excluded all the names and globs before it.
        return is_glob(self.db), len(self.apart_dbs), is_glob(self.coll), len(self.apart_colls)


@dataclass(frozen=True, slots=True)
class _Stream:
    name: str | None
    entries: tuple[_Entry, ...]
    times: Mapping[_Entry, Timestamp]

    def time(self, namespace: Namespace) -> Timestamp | None:
        if self.name is not None and not any(entry.selects(namespace) for entry in self.entries):
            return None
        selecting = [rule for rule in self.times if rule.selects(namespace)]
        lowest = min((rule.rank for rule in selecting), default=0)
        return min((self.times[rule] for rule in selecting if rule.rank == lowest), default=None)

    def oldest(self, region: Region) -> Timestamp | None:
        return min((time for rule, time in self.times.items() if rule.touches(region)), default=None)


def recorded_by(checkpoints: Sequence[LegacyCheckpoint]) -> Recorded:
    """The progress that version 0.1 recorded. No namespace gets a later time than it had. Where globs overlap, some get
    an earlier one, and their changes are delivered again.

    Raises ValueError, with the stream's name, for a checkpoint that cannot be decoded.
    """
    streams = [_stream(checkpoint) for checkpoint in checkpoints]
    current = [stream for stream in streams if stream.name is not None]
    retired = [stream for stream in streams if stream.name is None]
    rules: list[Rule[Covered]] = []
    for namespace in sorted(_single_namespaces(streams)):
        found = _covered(current, namespace) or _covered(retired, namespace)
        if found is not None:
            rules.append(Rule(Region.of(*namespace), found))
    wide = [(entry, stream) for stream in current for entry in stream.entries]
    wide += [(entry, stream) for stream in retired for entry in stream.times]
    for entry, stream in sorted(wide, key=lambda each: (each[1].name is None, each[0].order())):
        # The order of overlapping globs alone does not determine which one applied: the oldest time is always safe.
        region = entry.region()
        oldest = min((time for each in streams if (time := each.oldest(region)) is not None), default=None)
        if oldest is not None:
            # A stream's own position must not hide that other streams are not as far.
            rules += _wide(entry, Covered(stream.name if stream.oldest(region) == oldest else None, oldest))
    reached = {each.stream: Reached(each.plan, each.position) for each in checkpoints if _is_current(each)}
    return Recorded(simplify(rules, NEVER), reached)


def _is_current(checkpoint: LegacyCheckpoint) -> bool:
    return not checkpoint.stream.startswith(_RETIRED)


def _stream(checkpoint: LegacyCheckpoint) -> _Stream:
    reached = checkpoint.position.time
    times: dict[_Entry, Timestamp] = {}
    try:
        # There may be very many rules, and most are equal.
        for stored in checkpoint.selection.get("rules", ()):
            rule, time = _Entry.read(stored), Timestamp(stored["t"], stored["i"])
            later = time if reached is None else max(time, reached)
            times[rule] = min(later, times.get(rule, later))
        entries = tuple(_Entry.read(stored) for stored in checkpoint.selection.get("entries", ()))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{checkpoint.stream}: {type(error).__name__}: {error}") from error
    return _Stream(checkpoint.stream if _is_current(checkpoint) else None, entries, times)


def _wide(entry: _Entry, covered: Covered) -> Iterator[Rule[Covered]]:
    yield Rule(entry.region(), covered)
    yield Rule(Region.of(entry.db, ""), covered)


def _single_namespaces(streams: Sequence[_Stream]) -> set[Namespace]:
    """Every namespace that the streams name: their databases, with the collections that are named for them."""
    entries = {entry for stream in streams for entry in (*stream.entries, *stream.times)}
    colls: dict[str, set[str]] = {}
    for entry in entries:
        for db in (entry.db, *entry.apart_dbs):
            if not is_glob(db):
                colls.setdefault(db, {""})
    for db, found in colls.items():
        for entry in entries:
            if fits(db, entry.db):
                found.update(coll for coll in (entry.coll, *entry.apart_colls) if not is_glob(coll))
    return {Namespace(db, coll) for db, found in colls.items() for coll in found}


def _covered(streams: Sequence[_Stream], namespace: Namespace) -> Covered | None:
    found = [(time, stream.name) for stream in streams if (time := stream.time(namespace)) is not None]
    if not found:
        return None
    time, name = min(found, key=lambda each: each[0])
    return Covered(name, time)


def _selects(name: str, pattern: str, apart: tuple[str, ...]) -> bool:
    return fits(name, pattern) and not any(fits(name, other) for other in apart)
