"""Where each stream begins, given what was recorded before. Pure; the reason why rearranged configs lose nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bson import Timestamp

from mess.capture.plan import StreamPlan
from mess.capture.selection import Entry, Selection
from mess.event import Namespace, Position
from mess.state.store import Checkpoint

_INHERITED, _FRESH = 0, 1
_NEVER = Timestamp(2**32 - 1, 2**32 - 1)


@dataclass(frozen=True, slots=True)
class Rule:
    """Events under `entry` are wanted from `time` on; rules of a lower rank go before those of a higher one."""

    entry: Entry
    time: Timestamp
    rank: int = _FRESH


@dataclass(frozen=True, slots=True)
class Start:
    """Where a stream begins, and from when on each of its namespaces is wanted.

    `latest` is set where the position is that of the oldest change there is, which MongoDB may forget before it is
    read: how late the stream may begin then.
    """

    position: Position
    rules: tuple[Rule, ...]
    latest: Timestamp | None = None

    def since(self, namespace: Namespace) -> Timestamp | None:
        """Events of this namespace before that time are not wanted; None when all that the stream will give are."""
        found = [rule for rule in self.rules if rule.entry.selects(namespace)]
        if not found:
            return None
        rank = min(rule.rank for rule in found)
        time = min(rule.time for rule in found if rule.rank == rank)
        return time if self.position.time is not None and time > self.position.time else None


def starts(
    plans: Sequence[StreamPlan], stored: Sequence[Checkpoint], fresh: Timestamp, *, oldest: bool = False
) -> dict[str, Start]:
    """Where each plan's stream begins, by the stream's name.

    A stream whose plan is unchanged goes on behind its resume token. Any other begins at the oldest position of those
    that covered some of its namespaces, by cluster time, since a token is only of use to the stream that gave it.
    Namespaces that no one covered begin at `fresh`; `oldest` says that this is the oldest change there is.
    """
    return {plan.name: _start(plan, stored, fresh, oldest) for plan in plans}


def _start(plan: StreamPlan, stored: Sequence[Checkpoint], fresh: Timestamp, oldest: bool) -> Start:
    for checkpoint in stored:
        if checkpoint.stream == plan.name and checkpoint.plan == plan.hash:
            return Start(checkpoint.position, rules_of(checkpoint))
    entries = plan.selection.entries
    inherited = tuple(
        Rule(rule.entry, _later(rule.time, checkpoint.position.time), _INHERITED)
        for checkpoint in stored
        for rule in rules_of(checkpoint)
        if any(rule.entry.overlaps(entry) for entry in entries)
    )
    begun = tuple(
        Rule(entry, fresh, _FRESH) for entry in entries if not any(rule.entry.covers(entry) for rule in inherited)
    )
    rules = inherited + begun
    time = min(rule.time for rule in rules)
    latest = min((rule.time for rule in inherited), default=_NEVER) if oldest and time == fresh else None
    return Start(Position(None, time), rules, latest)


def leftovers(plans: Sequence[StreamPlan], stored: Sequence[Checkpoint]) -> tuple[list[Checkpoint], list[str]]:
    """What to keep of checkpoints whose stream is gone or changed: for namespaces that no stream covers any more.

    Returns the checkpoints to write, so that these namespaces go on from there should they ever be watched again, and
    the names of those to delete.
    """
    current = [entry for plan in plans for entry in plan.selection.entries]
    unchanged = {(plan.name, plan.hash) for plan in plans}
    names = {plan.name for plan in plans}
    keep: list[Checkpoint] = []
    delete: list[str] = []
    for checkpoint in stored:
        if (checkpoint.stream, checkpoint.plan) in unchanged:
            continue
        left = tuple(rule for rule in rules_of(checkpoint) if not any(entry.covers(rule.entry) for entry in current))
        retired = checkpoint.stream if checkpoint.stream.startswith(_RETIRED) else _RETIRED + checkpoint.stream
        if left:
            selection = describe(Selection(tuple(rule.entry for rule in left)), left)
            keep.append(replace(checkpoint, stream=retired, plan="", selection=selection))
        if checkpoint.stream not in names and not (left and checkpoint.stream == retired):
            delete.append(checkpoint.stream)
    return keep, delete


_RETIRED = "retired: "


def moved(checkpoint: Checkpoint, time: Timestamp) -> Checkpoint:
    """A checkpoint that begins at `time`, for all that its stream selects."""
    rules = [replace(rule, time=time) for rule in rules_of(checkpoint)]
    selection = describe(Selection(tuple(rule.entry for rule in rules)), rules)
    return replace(checkpoint, position=Position(None, time), selection=selection)


def describe(selection: Selection, rules: Iterable[Rule]) -> dict[str, Any]:
    """What a checkpoint records of its stream: see `rules_of`."""
    return {
        "entries": selection.to_json(),
        "rules": [
            {**Selection((rule.entry,)).to_json()[0], "t": rule.time.time, "i": rule.time.inc, "rank": rule.rank}
            for rule in rules
        ],
    }


def rules_of(checkpoint: Checkpoint) -> tuple[Rule, ...]:
    """The rules that a checkpoint recorded."""
    rules: list[Mapping[str, Any]] = checkpoint.selection.get("rules", [])
    return tuple(
        Rule(Selection.from_json([rule]).entries[0], Timestamp(rule["t"], rule["i"]), rule["rank"]) for rule in rules
    )


def _later(one: Timestamp, other: Timestamp | None) -> Timestamp:
    return one if other is None or one >= other else other
