"""`mess dead-letters replay`: deliver again."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from mess.cli.common import ConfigOption, UrlOption, load_config, run_async, say
from mess.cli.connecting import TimeoutOption
from mess.cli.dead_letters.choice import (
    All,
    DryRun,
    Ids,
    OfNamespace,
    Pipeline,
    Reason,
    Since,
    Step,
    Until,
    all_found,
    choose,
    demand,
    letters,
)
from mess.cli.ending import leave, stop_on_signals
from mess.cli.progress import progress
from mess.cli.state import with_store
from mess.printable import printable
from mess.telemetry.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mess.relay.dead_letter_replay import Replayer, Report
    from mess.state.records import Pointer
    from mess.state.store import StateStore


def replay(
    ids: Ids = None,
    pipeline: Pipeline = None,
    step: Step = None,
    namespace: OfNamespace = None,
    since: Since = None,
    until: Until = None,
    reason: Reason = None,
    all_: All = False,
    whole_pipeline: Annotated[
        bool,
        typer.Option("--whole-pipeline", help="Begin at the first step with the change as it came."),
    ] = False,
    dry_run: DryRun = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Deliver dead letters again, the oldest change first, from the step on that failed.

    An event keeps its id; a webhook says `mess-replay: true`. A letter is deleted once its event is delivered; one that
    fails again stays, with the new reason. The relay may run meanwhile. Exit codes: 0 all delivered, 1 some were not,
    2 config.
    """
    wanted = choose(ids, pipeline, step, namespace, since, until, reason)
    demand(wanted, all_)
    loaded = load_config(config, mongodb__url=url)
    from mess.dead_letter_replay import replayer_for
    from mess.telemetry.logging import configure

    configure(loaded.config.log.level, loaded.config.log.format, to="stderr", max_field=loaded.config.log.max_field)

    async def work(store: StateStore) -> bool:
        replayer = replayer_for(loaded, store, whole=whole_pipeline)
        pointers = await store.pointers(wanted)
        all_found(wanted, pointers)
        if dry_run:
            _foretell(replayer, pointers, whole_pipeline)
            return True
        stop_on_signals(replayer)
        with progress("replaying", letters(len(pointers)), len(pointers)) as bar:
            report = await replayer.run(pointers, bar.advance)
        _tell(report, len(pointers))
        return report.complete

    leave(0 if run_async(with_store(loaded, work, timeout)) else 1)


def _foretell(replayer: Replayer, pointers: Iterable[Pointer], whole: bool) -> None:
    fates: Counter[str] = Counter()
    for pointer in pointers:
        begin = "from its first step on" if whole else f"from step {pointer.step!r} on"
        obstacle = replayer.obstacle(pointer)
        fates[f"would be replayed through pipeline {pointer.pipeline!r} {begin}" if obstacle is None else obstacle] += 1
    for fate, count in fates.items():
        say(f"{letters(count)}: {printable(fate)}")
    if not fates:
        say("no dead letter matches")


def _tell(report: Report, total: int) -> None:
    say(f"{report.delivered} of {letters(total)} delivered" if total else "no dead letter matches")
    if report.failed:
        first = redact(report.first_failure or "")
        say(f"{report.failed} failed again and stay, with the new reason; the first: {printable(first)}")
    for name, (reason, left) in report.down.items():
        say(f"pipeline {name!r}: the sink is down ({printable(redact(reason))}); {left} left as they were")
    for reason, count in report.kept.items():
        say(f"{count} cannot be replayed: {printable(redact(reason))}")
    if report.changed:
        say(f"{report.changed} were deleted or given up on again by others meanwhile; those stay as they are")
    if report.interrupted:
        say(f"interrupted; {report.interrupted} left as they were")
