"""`mess backfill start`: send documents that existed before."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from mess.cli.backfill.group import counted, group, not_running
from mess.cli.backfill.waiting import wait_for
from mess.cli.common import ConfigOption, UrlOption, load_config, not_for_workers, run_async, say
from mess.cli.connecting import TimeoutOption, connecting, watched
from mess.cli.ending import leave
from mess.commands import command
from mess.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mess.capture.existing import Facts
    from mess.capture.reach import Connect
    from mess.config.load import Loaded
    from mess.config.model import Config
    from mess.relay.backfill_request import Prepared, Request
    from mess.state.store import StateStore


@group.command()
def start(
    namespace: Annotated[
        list[str],
        typer.Argument(help="The collections: DATABASE.COLLECTION, as names or globs.", metavar="NAMESPACE"),
    ],
    match: Annotated[
        str | None,
        typer.Option(
            help="Only documents whose change event matches this MongoDB query, in Extended JSON, as in "
            '{"fullDocument.total": {"$gte": 5}}. The config\'s match applies too.',
            metavar="JSON",
            show_default=False,
        ),
    ] = None,
    step: Annotated[
        str | None, typer.Option(help="Only to this step, and to no other http or queue step.", show_default=False)
    ] = None,
    pipeline: Annotated[
        str | None, typer.Option(help="Only collections' own pipeline of this name.", show_default=False)
    ] = None,
    rate: Annotated[
        float | None, typer.Option(help="The maximum number of documents per second.", min=0.001, show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be sent, and how much.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until everything is sent.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Let the relay send the documents that collections have now, merged into their changes in the right order.

    Each document is an event with the operation `read`. It follows every change that it contains, and precedes every
    change that it does not. Collections must be watched by the config. The relay sends them, now or when it next runs;
    one backfill for each collection keeps its progress over restarts.

    Exit codes: 0 started (with --wait: all is sent), 1 with --wait one failed or was cancelled, or waiting was
    interrupted, 2 config, or a collection that cannot be sent, 3 MongoDB cannot be read, 5 the state cannot be used.
    """
    if rate is not None and not math.isfinite(rate):
        raise ConfigError("--rate must be a number of documents per second")
    loaded = load_config(config, mongodb__url=url)
    not_for_workers(loaded, "a backfill reads documents from MongoDB")
    from mess.relay.backfill_request import Request, checked_match

    request = Request(
        namespaces=tuple(namespace),
        match=None if match is None else checked_match(match),
        step=step,
        pipeline=pipeline,
        rate=rate,
    )
    leave(run_async(_start(loaded, request, connecting(timeout), dry_run=dry_run, wait=wait)))


async def _start(loaded: Loaded, request: Request, connect: Connect, *, dry_run: bool, wait: bool) -> int:
    from mess.stores import store_for

    prepared = await _prepare(loaded, request, connect)
    for reason in prepared.left_out:
        say(f"left out: {reason}", err=True)
    async with store_for(loaded.config, connect, lasting=not dry_run) as store:
        if dry_run:
            await _foretell(store, loaded.config, prepared.collections, request)
            return 0
        ids = await _add(store, prepared.collections, request)
        total = sum(each.documents or 0 for each in prepared.collections)
        return await wait_for(store, ids, total or None) if wait else 0


async def _prepare(loaded: Loaded, request: Request, connect: Connect) -> Prepared:
    from mess.capture.plan import plan
    from mess.capture.preflight import telling_the_role, verify
    from mess.relay.backfill_request import prepare
    from mess.state.open import in_mongodb

    config = loaded.config
    async with watched(loaded) as client:
        await connect(client, verify)
        with telling_the_role(plan(config), config.state.database if in_mongodb(config.state.url) else None):
            return await prepare(client, config, request)


async def _foretell(store: StateStore, config: Config, collections: Sequence[Facts], request: Request) -> None:
    from mess.capture.plan import plan
    from mess.options.values import spoken
    from mess.relay.backfill_request import new_backfills

    await new_backfills(store, collections, request)
    for each in collections:
        say(f"{each.namespace}: {counted(each.documents)}")
    total = sum(each.documents or 0 for each in collections)
    if request.match is not None:
        say("that is before --match; MongoDB has to look at each to know how many match")
    if request.rate is None:
        say("how long it takes depends on how fast the sinks are; --rate limits it")
    else:
        # A stream sends its collections one after another; streams do not wait for each other.
        sums = [
            sum(each.documents or 0 for each in collections if stream.selection.selects(each.namespace))
            for stream in plan(config)
        ]
        say(f"{counted(total)} take at least {spoken(max(sums) / request.rate)} with --rate {request.rate:g}")


async def _add(store: StateStore, collections: Sequence[Facts], request: Request) -> list[str]:
    from mess.relay.backfill_request import new_backfills

    backfills = await new_backfills(store, collections, request)
    for backfill, facts in zip(backfills, collections, strict=True):
        await store.add_backfill(backfill)
        say(f"{backfill.id}: {backfill.namespace}, {counted(facts.documents)}")
    if (absent := await not_running(store)) is not None:
        say(f"no relay {absent!r} runs at present; this begins when it does: {command('run')}")
    return [backfill.id for backfill in backfills]
