"""`mess replay`: deliver a range of MongoDB's oplog again."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Coroutine
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from mess.cli.common import (
    CollectionOption,
    ConfigOption,
    DatabaseOption,
    UrlOption,
    load_config,
    not_for_workers,
    report,
    run_async,
    say,
    tune_process,
)
from mess.cli.connecting import TimeoutOption, connecting
from mess.cli.ending import leave, stop_on_signals
from mess.cli.progress import Bar, progress
from mess.cli.root import app
from mess.cli.times import moment
from mess.commands import command
from mess.errors import ConfigError, HistoryLost, MessError
from mess.telemetry.printable import printable

if TYPE_CHECKING:
    from mess.capture.reach import Connect
    from mess.config.load import Loaded
    from mess.replay.oplog import Extent, OplogReplay, Survey

T = TypeVar("T")

_LOOK = 0.25  # seconds
_ROWS = 20


@app.command()
def replay(
    from_: Annotated[
        datetime,
        typer.Option(
            "--from", help="The oldest change: an ISO time, or an age like 2h.", parser=moment, metavar="TIME"
        ),
    ],
    to: Annotated[
        datetime | None,
        typer.Option(
            help="The newest change, likewise. Default: now.", parser=moment, metavar="TIME", show_default=False
        ),
    ] = None,
    database: DatabaseOption = None,
    collection: CollectionOption = None,
    step: Annotated[
        str | None,
        typer.Option(help="Only the deliveries of this step, and of no other http or queue step.", show_default=False),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count the events.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Deliver the changes between two times again, read from MongoDB's oplog.

    First shows how far back the oplog reaches, and how many events there are. Events go through the pipelines of the
    current config, keep their ids, and are marked as replayed (a webhook: `mess-replay: true`). Checkpoints do not
    change; the relay may be running.

    Exit codes: 0 all delivered, 1 some were given up, or it was interrupted, 2 config, 3 MongoDB cannot be read, 4 the
    oplog does not reach back that far, 5 a dead letter cannot be recorded, 7 an event was refused and `on_failure` is
    `stop`.
    """
    now = datetime.now(timezone.utc)
    if from_ > now:
        raise ConfigError(f"--from {_written(from_)} is in the future")
    if to is not None and to < from_:
        raise ConfigError(f"--from {_written(from_)} is later than --to {_written(to)}")
    loaded = load_config(config, mongodb__url=url)
    not_for_workers(loaded, "the oplog is what replay reads")
    from mess.capture.selection import Narrowing
    from mess.replay.oplog import Extent
    from mess.telemetry.logging import configure

    # The log shows what a replay waits for.
    level = loaded.config.log.level
    configure(
        "warning" if level == "error" else level,
        loaded.config.log.format,
        to="stderr",
        max_field=loaded.config.log.max_field,
    )
    extent = Extent(
        since=from_, until=to or now, within=Narrowing(tuple(database or ()), tuple(collection or ())), step=step
    )
    try:
        code = run_async(_replay(loaded, extent, dry_run, connecting(timeout)))
    except MessError as error:
        report(error)
        code = error.exit_code
    leave(code)


async def _replay(loaded: Loaded, extent: Extent, dry_run: bool, connect: Connect) -> int:
    from mess.relay.stopping import Halted
    from mess.replay.oplog import replaying
    from mess.stores import store_for

    async with replaying(loaded, extent) as work:
        stop_on_signals(work)
        tune_process()
        try:
            with progress("counting", "the events") as bar:
                survey = await _shown(work, work.survey(connect), bar)
        except Halted:
            say("interrupted; nothing was delivered")
            return 1
        _foretell(survey, extent)
        total = survey.events.total()
        if dry_run or not total:
            return 0
        async with store_for(loaded.config, connect) as store:
            began = time.monotonic()
            try:
                with progress("replaying", _events(total), total) as bar:
                    await _shown(work, work.deliver(store), bar)
            finally:
                _tell(work, total, time.monotonic() - began)
                if not (work.complete or isinstance(sys.exception(), HistoryLost)):
                    _tell_how_to_go_on(work, extent)
        return 0 if work.complete and not (work.outcome.kept or work.outcome.skipped) else 1


async def _shown(work: OplogReplay, doing: Coroutine[None, None, T], bar: Bar) -> T:
    """Await `doing`, and move the bar meanwhile."""

    async def move() -> None:
        shown = 0
        while True:
            await asyncio.sleep(_LOOK)
            handled = work.outcome.handled
            bar.advance(handled - shown)
            shown = handled

    moving = asyncio.create_task(move())
    try:
        return await doing
    finally:
        moving.cancel()


def _foretell(survey: Survey, extent: Extent) -> None:
    if survey.oldest is None:
        say("MongoDB does not report how far back its oplog reaches")
    else:
        say(f"MongoDB's oplog reaches back to {_written(survey.oldest)}")
    say(f"{_events(survey.events.total())} from {_written(extent.since)} to {_written(extent.until)}")
    rows = survey.events.most_common()
    width = max((len(str(namespace)) for (_, namespace), _ in rows[:_ROWS]), default=0)
    for (pipeline, namespace), count in rows[:_ROWS]:
        say(f"{count:>12,}  {printable(str(namespace)):{width}}  pipeline {pipeline!r}")
    if rest := rows[_ROWS:]:
        say(f"{sum(count for _, count in rest):>12,}  of {len(rest)} other namespaces")


def _tell(work: OplogReplay, total: int, seconds: float) -> None:
    outcome = work.outcome
    counts = {
        "delivered": outcome.delivered,
        "dropped by steps": outcome.dropped,
        "dead-lettered": outcome.kept,
        "skipped": outcome.skipped,
    }
    told = ", ".join(f"{count:,} {what}" for what, count in counts.items())
    rate = f"{seconds:.1f} s, {outcome.handled / seconds:,.0f} a second"
    say(f"{outcome.handled:,} of {_events(total)}: {told}; {rate}")
    if outcome.kept:
        say(f"`{command('dead-letters list')}` shows the events that were given up")


def _tell_how_to_go_on(work: OplogReplay, extent: Extent) -> None:
    ended = "interrupted" if work.stopping else "ended early"
    reached, until = _written(work.reached), _written(extent.until)
    say(f"{ended}: every change before {reached} is done; continue with --from {reached} --to {until}")


def _events(count: int) -> str:
    return f"{count:,} event{'' if count == 1 else 's'}"


def _written(time: datetime) -> str:
    from mess.options.values import written_time

    return written_time(time)
