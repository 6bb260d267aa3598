"""What arrived, compared with what was committed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.checker.committed import Change
from tests.checker.runs import Expectation

_SHOWN = 5
"""How many problems of one kind are described."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One delivery of one event: its id, and what its body says: resume token, operation, database, collection and mark
    (see `Change`). None where the body is no change event. `replay`: a dead letter's, which need not come in order."""

    id: str
    content: tuple[str, str, str, str, Any] | None
    replay: bool = False

    @classmethod
    def of(cls, identity: str, body: Any, *, replay: bool = False) -> Arrival:
        """From a body as the relay writes it by default."""
        if not isinstance(body, Mapping) or "operationType" not in body:
            return cls(identity, None, replay)
        space = body.get("ns") or {}
        written = body.get("updateDescription", {}).get("updatedFields") or body.get("fullDocument") or {}
        return cls(
            identity,
            (
                body["_id"]["_data"],
                body["operationType"],
                space.get("db", ""),
                space.get("coll", ""),
                _plain(written.get("w", written.get("n"))),
            ),
            replay,
        )


@dataclass
class Verdict:
    """What the comparison found: problems by their kind, and counts. `missing` are the changes that did not arrive."""

    problems: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    missing: list[Change] = field(default_factory=list)
    committed: int = 0
    required: int = 0
    arrived: int = 0
    duplicates: int = 0
    dead_letters: int = 0

    @property
    def ok(self) -> bool:
        """Whether every promise was kept."""
        return not self.problems

    def __str__(self) -> str:
        counts = (
            f"{self.committed} committed, {self.required} required, {self.arrived} arrived, "
            f"{self.duplicates} duplicates, {self.dead_letters} dead letters"
        )
        lines = [counts]
        for kind, found in self.problems.items():
            lines.append(f"{kind}: {len(found)}")
            lines += [f"  {each}" for each in found[:_SHOWN]]
        return "\n".join(lines)

    def check(self) -> None:
        """Raises AssertionError, which describes the problems, unless every promise was kept."""
        assert self.ok, str(self)


def must_all_arrive(changes: Iterable[Change], destination: str = "") -> dict[str, Expectation]:
    """The expectation that every change arrives at one destination, by the changes' ids."""
    from tests.checker.selection import OPERATIONS, Options

    always = Expectation((Options(OPERATIONS, None, (destination,), "document"),), True, "")
    return {change.id: always for change in changes}


def judge(
    changes: Sequence[Change],
    expectations: Mapping[str, Expectation],
    arrivals: Mapping[str, Sequence[Arrival]],
    *,
    dead_letters: Collection[str] = (),
    refused: Collection[str] | None = None,
) -> Verdict:
    """Whether what arrived at each destination, in the order of arrival, is what had to.

    `dead_letters` are the ids of events that were given up on; with `refused`, only these may be among them. What was
    replayed from the dead letters is accounted for.
    """
    verdict = Verdict(committed=len(changes), dead_letters=len(dead_letters))
    known = {change.id: change for change in changes}
    where: dict[str, set[str]] = defaultdict(set)
    replayed: set[str] = set()
    for destination, delivered in arrivals.items():
        first: dict[str, Change] = {}
        for arrival in delivered:
            change = known.get(arrival.id)
            if change is None:
                verdict.problems["unknown ids"].append(f"{arrival.id} at {destination}: {arrival.content}")
                continue
            _compare_body(arrival, change, verdict)
            if arrival.replay:
                replayed.add(change.id)
                continue
            if change.id in first:
                verdict.duplicates += 1
            first.setdefault(change.id, change)
        verdict.arrived += len(first)
        for change in first.values():
            where[change.id].add(destination)
            expectation = expectations[change.id]
            if destination not in expectation.allowed:
                why = expectation.why or "no config that was in force then sends it there"
                verdict.problems["not to be delivered"].append(f"{change} at {destination}: {why}")
        _order(destination, list(first.values()), expectations, verdict)
    for change in changes:
        verdict.required += expectations[change.id].must
        accounted = change.id in dead_letters or change.id in replayed
        if not accounted and not expectations[change.id].met(frozenset(where[change.id])):
            verdict.missing.append(change)
            verdict.problems["missing"].append(f"{change}, arrived at {sorted(where[change.id]) or 'no destination'}")
    for letter in dead_letters:
        if letter not in known:
            verdict.problems["dead letters with unknown ids"].append(letter)
        elif not expectations[letter].choices:
            verdict.problems["dead letters of other events"].append(f"{known[letter]}: {expectations[letter].why}")
        elif refused is not None and letter not in refused:
            verdict.problems["dead letters that nobody refused"].append(str(known[letter]))
    return verdict


def _compare_body(arrival: Arrival, change: Change, verdict: Verdict) -> None:
    if arrival.content is None:
        return
    *identity, mark = arrival.content
    same = identity == [change.token, change.operation, change.db, change.coll]
    if not same or (change.mark is not None and mark != change.mark):
        verdict.problems["bodies of other changes"].append(f"{change}: {arrival.content}")


def _plain(value: Any) -> Any:
    """A number as Extended JSON may write it."""
    if isinstance(value, Mapping) and len(value) == 1:
        [(kind, number)] = value.items()
        return int(number) if kind in ("$numberInt", "$numberLong") else value
    return value


def check_order(
    destination: str,
    arrivals: Iterable[Arrival],
    changes: Iterable[Change],
    expectations: Mapping[str, Expectation],
    verdict: Verdict,
) -> None:
    """Add to a verdict what came out of order among arrivals that it does not know of, such as requests that failed."""
    known = {change.id: change for change in changes}
    first = {arrival.id: known[arrival.id] for arrival in arrivals if arrival.id in known and not arrival.replay}
    _order(destination, list(first.values()), expectations, verdict)


def _order(
    destination: str, first: Sequence[Change], expectations: Mapping[str, Expectation], verdict: Verdict
) -> None:
    """First arrivals must come in commit order: per document, or per collection where the config says so; and events of
    a whole collection come behind all before them and before all behind them."""
    newest: dict[Any, Change] = {}
    newest_barrier: dict[tuple[str, str], Change] = {}
    newest_of_collection: dict[tuple[str, str], Change] = {}
    for change in first:
        orders = {choice.order for choice in expectations[change.id].choices}
        if not change.coll or not expectations[change.id].ordered or not orders <= {"document", "collection"}:
            continue
        space = (change.db, change.coll)
        keys: list[Any] = [(space, change.key)] if change.key is not None else []
        if orders == {"collection"}:
            keys.append(space)
        for key in keys:
            if key in newest and newest[key].number > change.number:
                verdict.problems["out of order"].append(f"{change} came after {newest[key]} at {destination}")
            else:
                newest[key] = change
        before = newest_barrier if change.key is not None else newest_of_collection
        if space in before and before[space].number > change.number:
            verdict.problems["out of order with a drop or rename"].append(
                f"{change} came after {before[space]} at {destination}"
            )
        if change.key is None:
            newest_barrier.setdefault(space, change)
            newest_barrier[space] = max(newest_barrier[space], change, key=lambda each: each.number)
        newest_of_collection[space] = max(newest_of_collection.get(space, change), change, key=lambda each: each.number)
