"""`mess record`: save real events as cases for `mess test`."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mess.cli.common import (
    CollectionOption,
    ConfigOption,
    DatabaseOption,
    UrlOption,
    load_config,
    not_for_workers,
    print_json,
    report,
    run_async,
    say,
)
from mess.cli.connecting import TimeoutOption, connecting
from mess.cli.ending import leave, stop_on_signals
from mess.cli.root import app
from mess.cli.times import moment, seconds
from mess.errors import ConfigError, MessError
from mess.similar import did_you_mean
from mess.telemetry.printable import printable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from mess.capture.reach import Connect
    from mess.cases.drop import Drops
    from mess.cases.record import Recorded, Recorder, Sample
    from mess.cli.record.samples import Choice
    from mess.config.load import Loaded

_FOLDER = "tests"
_DONE = {"recorded": "recorded", "exists": "left as they were", "failed": "not recorded"}
_NAMED = 30
"""How many recorded fields the warning names."""


@app.command()
def record(
    to: Annotated[
        Path | None,
        typer.Option(
            help="The folder for the cases. Default: the folder tests beside the config file.",
            metavar="FOLDER",
            show_default=False,
        ),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            help="Leave this out of the cases: the path of a field in the change event, as in fullDocument.email. Can "
            "be repeated.",
            metavar="PATH",
            show_default=False,
        ),
    ] = None,
    count: Annotated[int, typer.Option(help="The maximum number of new cases.", min=1)] = 10,
    for_: Annotated[
        float | None,
        typer.Option(
            "--for",
            help="How long to wait for events, such as 30s. Default: until there are enough; with --since, up to now.",
            parser=seconds,
            metavar="DURATION",
            show_default=False,
        ),
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            help="Begin with the changes since: an ISO time, or an age like 2h. Default: now.",
            parser=moment,
            metavar="TIME",
            show_default=False,
        ),
    ] = None,
    pipeline: Annotated[str | None, typer.Option(help="Only events of this pipeline.", show_default=False)] = None,
    database: DatabaseOption = None,
    collection: CollectionOption = None,
    from_dead_letters: Annotated[
        bool,
        typer.Option("--from-dead-letters", help="Record dead letters, the newest ones, instead of changes."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Save real events as cases for `mess test`, each with what the config makes of it now.

    Reads MongoDB's changes by itself, beside a relay or without one. Delivers nothing and changes no positions. Users'
    functions really run. A case that exists is left as it is.

    Exit codes: 0 recorded, 1 nothing was recorded, or an event could not be, 2 config, 3 MongoDB cannot be read, 4 the
    oplog does not reach back that far, 5 the state cannot be read.
    """
    if since is not None and since > datetime.now(timezone.utc):
        raise ConfigError("--since is in the future")
    loaded = load_config(config, mongodb__url=url)
    not_for_workers(loaded, "record reads change streams")
    from mess.capture.selection import Narrowing
    from mess.cases.drop import Drops
    from mess.cases.record import Recorder
    from mess.cli.record.samples import Choice
    from mess.relay.build import build_pipelines
    from mess.telemetry.logging import configure

    configure("error", loaded.config.log.format, to="stderr", max_field=loaded.config.log.max_field)
    steps = build_pipelines(loaded)
    if pipeline is not None and pipeline not in steps:
        known = ", ".join(map(repr, steps))
        raise ConfigError(f"the config has no pipeline {pipeline!r}; it has {known}{did_you_mean(pipeline, steps)}")
    try:
        drops = Drops(drop or ())
    except ValueError as error:
        raise ConfigError(f"--drop: {error}") from error
    choice = Choice(
        count=count,
        seconds=for_,
        since=since,
        pipeline=pipeline,
        within=Narrowing(tuple(database or ()), tuple(collection or ())),
        letters=from_dead_letters,
    )
    recorder = Recorder(loaded, steps, to or loaded.path.parent / _FOLDER, drops)
    found: list[Recorded] = []
    out = sys.stdout

    def tell(each: Recorded) -> None:
        found.append(each)
        if not json:
            with contextlib.redirect_stdout(out):
                say(f"{each.result:<8} {printable(str(each.path))}" + (f": {each.reason}" if each.reason else ""))

    code = 0
    try:
        with contextlib.redirect_stdout(sys.stderr):  # users' functions may print
            run_async(_record(loaded, choice, recorder, connect=connecting(timeout), tell=tell))
    except MessError as error:
        report(error)
        code = error.exit_code
    if json:
        cases = [{"case": str(each.path), "result": each.result, "reason": each.reason or None} for each in found]
        print_json({"cases": cases, "fields": sorted(recorder.fields)})
    elif found or not code:
        _sum_up(found)
    _warn(recorder, drops)
    results = {each.result for each in found}
    leave(code or int("recorded" not in results or "failed" in results))


async def _record(
    loaded: Loaded, choice: Choice, recorder: Recorder, *, connect: Connect, tell: Callable[[Recorded], None]
) -> None:
    """Record until there are enough events, until the time is over, or until a signal comes."""
    from mess.cancellation import cancel
    from mess.cli.record.samples import samples
    from mess.relay.dry_run import opened

    async def take(found: AsyncGenerator[Sample]) -> None:
        async with contextlib.aclosing(found):
            taken = 0
            async for sample in found:
                told = await recorder.record(sample)
                tell(told)
                taken += told.result != "exists"
                if taken == choice.count:
                    return

    async with samples(loaded, choice, connect) as found, opened(recorder.every_step()):
        task = asyncio.ensure_future(take(found))
        stop_on_signals(_Stoppable(task))
        await asyncio.wait({task}, timeout=choice.seconds)
        await cancel(task)
        if not task.cancelled():
            task.result()


class _Stoppable:
    def __init__(self, task: asyncio.Future[None]) -> None:
        self._task = task
        self.stopping = False

    def stop(self) -> None:
        self.stopping = True
        self._task.cancel()


def _sum_up(found: Sequence[Recorded]) -> None:
    counts: Counter[str] = Counter(each.result for each in found)
    told = [f"{counts[result]} {done}" for result, done in _DONE.items() if counts[result]]
    say(", ".join(told) or "no event came")


def _warn(recorder: Recorder, drops: Drops) -> None:
    for path in sorted(drops.unused) if recorder.recorded else ():
        say(f"warning: --drop {path}: no recorded event has it", err=True)
    if fields := sorted(recorder.fields):
        more = f", and {len(fields) - _NAMED} more" if len(fields) > _NAMED else ""
        names = printable(", ".join(fields[:_NAMED]))
        say(f"warning: the cases hold real values of these fields: {names}{more}", err=True)
        say("To leave some out: delete the cases, and record again with --drop PATH for each", err=True)
