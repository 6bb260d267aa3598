"""Which changes a relay had to deliver, given when it ran and with which configs.

The promise: delivered is every change that was committed after its namespace was first covered, is still in the oplog
at each start, and is selected by the config in force when the stream passes it. Nobody outside the relay knows the
exact moment at which it passes a change, so a change may be one that must arrive, one that may, or one that must not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bson import Timestamp

from tests.checker.committed import Change
from tests.checker.selection import Options, Selection

NEVER = Timestamp(2**32 - 1, 2**32 - 1)
ALWAYS = Timestamp(0, 0)


@dataclass
class Run:
    """One life of a relay's process. All times are MongoDB's.

    `began` is not after its start. `ready` is not before it reported that its streams are connected, None if it never
    did. `ended` is not before its end. `drained` is a moment up to which it has passed everything that it covers, None
    if that is unknown. With `oldest`, namespaces that were never covered begin at the oldest change there is.
    """

    selection: Selection
    began: Timestamp
    ready: Timestamp | None = None
    ended: Timestamp = NEVER
    drained: Timestamp | None = None
    oldest: bool = False


@dataclass(frozen=True)
class Expectation:
    """What is to become of one change.

    It may arrive where one of `choices` names a destination; if it `must`, it arrives at all destinations of at least
    one of them. Without choices it must not arrive anywhere; `why` says so in words.
    """

    choices: tuple[Options, ...]
    must: bool
    why: str
    ordered: bool = True
    """Whether it must arrive in order: not if it was left out by the config of one run that may have passed it, which
    was then killed, and selected by the next, which read it again; nor a rename that came as the new name's."""

    @property
    def allowed(self) -> frozenset[str]:
        """Where it may arrive."""
        return frozenset(destination for choice in self.choices for destination in choice.destinations)

    def met(self, arrived: frozenset[str]) -> bool:
        """Whether it has arrived wherever it must."""
        return not self.must or any(arrived.issuperset(choice.destinations) for choice in self.choices)


class Coverage:
    """Says of every change what is to become of it, after the `runs` of one relay name, in their order."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = runs

    def expectations(self, changes: Iterable[Change]) -> dict[str, Expectation]:
        """By the changes' ids."""
        return {change.id: self.expectation(change) for change in changes}

    def expectation(self, change: Change) -> Expectation:
        """What is to become of a change."""
        covering = [(run, options) for run in self._runs if (options := run.selection.of(change)) is not None]
        if not covering:
            return Expectation((), False, "no config selects its namespace")
        first = covering[0][0]
        if change.time <= first.began and not first.oldest:
            return Expectation((), False, "it was committed before its namespace was covered")
        passing, passed = self._passing(change, covering)
        if not passing:
            return Expectation((), False, "no run covered its namespace after it was committed")
        wanting = tuple(options for options in passing if options.wants(change))
        if not wanting:
            return Expectation((), False, "no config that was in force then selects it")
        always = len(wanting) == len(passing)
        certain = passed and always and _surely_covered(change, [run for run, _ in covering])
        by_new_name = any(run.selection.options(change.db, change.coll) is None for run, _ in covering)
        return Expectation(wanting, certain and not self._moves(change), "", always and not by_new_name)

    def _passing(self, change: Change, covering: Sequence[tuple[Run, Options]]) -> tuple[list[Options], bool]:
        """The options of all runs that may have been the one to pass a change, and whether one of them surely was."""
        passing: list[Options] = []
        for run, options in covering:
            if change.time <= run.ended:
                passing.append(options)
                if run.drained is not None and change.time <= run.drained:
                    return passing, True
        return passing, False

    def _moves(self, change: Change) -> bool:
        """Whether a rename is the old name's in one run and the new name's in another."""
        by_old_name = {run.selection.options(change.db, change.coll) is not None for run in self._runs}
        return change.to is not None and len(by_old_name) > 1


def _surely_covered(change: Change, covering: Sequence[Run]) -> bool:
    """Whether the namespace was covered when the change was committed: where a run began is unknown until it is ready,
    and whether it began at all if it never was."""
    ready = next((run for run in covering if run.ready is not None), None)
    return ready is not None and ready.ready is not None and (ready.oldest or change.time > ready.ready)
