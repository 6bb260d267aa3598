"""`mess dead-letters replay`: deliver dead letters again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mess.cli.common import ConfigOption, UrlOption, load_config, run_async, say
from mess.cli.connecting import TimeoutOption
from mess.cli.dead_letters.choice import All, Choice, DryRun, choosing, letters
from mess.cli.dead_letters.group import group
from mess.cli.ending import leave, stop_on_signals
from mess.cli.progress import progress
from mess.cli.state import with_store
from mess.telemetry.printable import printable
from mess.telemetry.redact import redact

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mess.replay.dead_letters import Replayer
    from mess.replay.letter_results import Report
    from mess.replay.routes import Way
    from mess.state.records import Pointer
    from mess.state.store import StateStore

_SHOWN = 20


@group.command()
@choosing
def replay(
    choice: Choice,
    all_: All = False,
    whole_pipeline: Annotated[
        bool,
        typer.Option("--whole-pipeline", help="Start at the first step, with the original change."),
    ] = False,
    through: Annotated[
        str | None,
        typer.Option(
            help="Send letters of other pipelines through all steps of this one, with the original change.",
            metavar="PIPELINE",
            show_default=False,
        ),
    ] = None,
    dry_run: DryRun = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Deliver dead letters again, the oldest change first, starting at the step that failed.

    If a letter's pipeline or step is no longer in the config, the change goes through all steps of the pipeline that
    its collection has now. With ids or --key, --pipeline chooses the pipeline instead of selecting letters.

    An event keeps its id; a webhook has the header `mess-replay: true`. A letter is deleted once its event is
    delivered; one that fails again stays, with the new reason. The relay may be running. Exit codes: 0 all delivered, 1
    some were not, 2 config.
    """
    if choice.one_by_one:
        # Letters that are named one by one need no filter.
        choice, through = choice.of_any_pipeline(), through or choice.wanted.pipeline
    choice.demand(all_)
    loaded = load_config(config, mongodb__url=url)
    from mess.replay.letters import replayer_for
    from mess.telemetry.logging import configure

    configure(loaded.config.log.level, loaded.config.log.format, to="stderr", max_field=loaded.config.log.max_field)

    async def work(store: StateStore) -> bool:
        replayer = replayer_for(loaded, store, whole=whole_pipeline, through=through)
        pointers = await store.pointers(await choice.find(store, loaded.config))
        choice.all_found(pointers)
        if dry_run:
            await _foretell(replayer, pointers)
            return True
        stop_on_signals(replayer)
        with progress("replaying", letters(len(pointers)), len(pointers)) as bar:
            report = await replayer.run(pointers, bar.advance)
        _tell(report, len(pointers))
        return report.complete

    leave(0 if run_async(with_store(loaded, work, timeout)) else 1)


async def _foretell(replayer: Replayer, pointers: Iterable[Pointer]) -> None:
    """Report which letters would take which way."""
    from mess.replay.routes import Kept
    from mess.state.letters import DamagedLetter

    fates: dict[str, list[Pointer]] = {}
    for pointer in pointers:
        try:
            fate = _shown(await replayer.way(pointer), pointer)
        except (Kept, DamagedLetter) as reason:
            fate = f"cannot be replayed: {reason}"
        fates.setdefault(fate, []).append(pointer)
    for fate, those in fates.items():
        say(f"{letters(len(those))}: {printable(redact(fate))}")
        for pointer in those[:_SHOWN]:
            say(printable(f"  {pointer.id}  {pointer.namespace}  {pointer.operation}"))
        if len(those) > _SHOWN:
            say(f"  … and {len(those) - _SHOWN} more")
    if not fates:
        say("no dead letter matches")


def _shown(way: Way, pointer: Pointer) -> str:
    if not way.whole:
        return f"would continue in pipeline {way.pipeline!r} at step {pointer.step!r}, with the stored body"
    why = f" ({way.why})" if way.why else ""
    return f"would go through all steps of pipeline {way.pipeline!r}, with the original change{why}"


def _tell(report: Report, total: int) -> None:
    say(f"{report.delivered} of {letters(total)} delivered" if total else "no dead letter matches")
    if report.failed:
        first = redact(report.first_failure or "")
        say(f"{report.failed} failed again and stay, with the new reason; the first: {printable(first)}")
    for name, (reason, left) in report.down.items():
        say(f"pipeline {name!r}: the sink is down ({printable(redact(reason))}); {left} left unchanged")
    for reason, count in report.kept.items():
        say(f"{count} cannot be replayed: {printable(redact(reason))}")
    if report.changed:
        say(f"{report.changed} were deleted or given up again by others meanwhile; those are unchanged")
    if report.interrupted:
        say(f"interrupted; {report.interrupted} left unchanged")
