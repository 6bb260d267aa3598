"""Runs cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from mess.cases.case import Case
from mess.cases.result import Outcome, compare, outcome, same
from mess.config.model import Config
from mess.config.scope import resolve
from mess.event import Event
from mess.relay.build import BuiltStep, Steps
from mess.relay.dry_run import DryRun, dry_run, opened


@dataclass(frozen=True)
class Difference:
    """What was expected of an event, which is its case's `number`th, and what became of it instead."""

    number: int
    expected: Outcome
    actual: Outcome


@dataclass(frozen=True)
class Result:
    """The result of a case. `outcomes` has an entry for each event. `notes` says what was not tested."""

    case: Case
    outcomes: tuple[Outcome, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether all was as expected."""
        return self.case.expect is not None and not self.differences


async def run_all(cases: Sequence[Case], steps: Steps, config: Config) -> list[Result]:
    """Run cases one after another, and in each of them its events. Raises MessError if a step breaks its promises."""
    names = dict.fromkeys(pipeline for case in cases for _, pipeline in case.events)
    async with opened(built for name in names for built in steps[name]):
        return [await run(case, steps, config) for case in cases]


async def run(case: Case, steps: Steps, config: Config) -> Result:
    """Run one case, with steps that are `opened`."""
    outcomes: list[Outcome] = []
    notes: list[str] = []
    for event, pipeline in case.events:
        found = await dry_run(steps[pipeline], event)
        outcomes.append(outcome(found))
        notes += [*_untested(event, config), *_silent(found, steps[pipeline])]
    return Result(
        case,
        outcomes=tuple(outcomes),
        differences=tuple(_differences(case, outcomes)),
        notes=tuple(dict.fromkeys(notes)),
    )


def _differences(case: Case, outcomes: Iterable[Outcome]) -> Iterator[Difference]:
    for number, (expected, actual) in enumerate(zip(case.expect or (), outcomes, strict=False), 1):
        wanted, found = compare(expected, actual)
        if not same(wanted, found):
            yield Difference(number, wanted, found)


def _untested(event: Event, config: Config) -> Iterator[str]:
    """What MongoDB or the relay does with a real event before it reaches its pipeline."""
    options, where = resolve(config, *event.namespace), str(event.namespace)
    if options is None:
        return
    if options.operations is not None and event.operation not in options.operations:
        yield f"{where}: operations leaves {event.operation} out, so a relay delivers no such event"
    if options.match is not None:
        yield f"{where}: match is not tested, since MongoDB evaluates it"
    if options.exclude:
        paths = ", ".join(options.exclude)
        yield f"{where}: exclude is not applied, since MongoDB does that; its events lack {paths}"


def _silent(run: DryRun, steps: Sequence[BuiltStep]) -> Iterator[str]:
    for built in steps:
        if built.name in run.sent and run.sent[built.name] is None:
            yield f"the step {built.name} does not tell what it would send"
