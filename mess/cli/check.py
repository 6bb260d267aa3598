"""`mess check`: are MongoDB, the state and the endpoints ready for the config, and what would a start do?"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import typer

from mess.cli.common import ConfigOption, UrlOption, load_config, run_async
from mess.cli.connecting import TimeoutOption, connecting
from mess.cli.root import app
from mess.errors import ConfigError, MessError

if TYPE_CHECKING:
    from pathlib import Path

    from mess.capture.preflight import Finding
    from mess.capture.reach import Connect
    from mess.config.load import Loaded
    from mess.config.model import KafkaSource

_RETRY_FOR = 5.0
_KAFKA_SECONDS = 8.0


@app.command()
def check(config: ConfigOption = None, url: UrlOption = None, timeout: TimeoutOption = None) -> None:
    """Connect to MongoDB (or to Kafka, if that is the source), to the relay's state and to every endpoint. Show on one
    screen whether they are ready for the config, where each stream would begin, and how to fix what is missing.

    Nothing is delivered, written or taken over; the relay may be running. Lines begin with `ok`, `no`, or `!!` for a
    warning.

    Exit codes: 0 everything is ready, 2 config, 3 MongoDB cannot be reached or watched, 4 a position is no longer in
    the oplog, 5 the state cannot be used, 8 an endpoint does not answer; if several apply, the lowest.
    """
    loaded = load_config(config, mongodb__url=url)
    codes = run_async(_check(loaded, connecting(timeout)))
    if codes:
        raise typer.Exit(min(codes))


async def _check(loaded: Loaded, connect: Connect) -> set[int]:
    """Print every finding; return the exit codes of those that are not ok."""
    from mess.capture import client as mongodb
    from mess.relay.build import build_all
    from mess.relay.sink_check import endpoints, try_all

    config = loaded.config
    built, problems = build_all(loaded)
    # Waiting for MongoDB may take a while.
    trials = asyncio.create_task(try_all(endpoints(built, config.plugins)))
    codes: set[int] = set()
    if config.source is not None:
        await _print_all(_kafka(config.source.kafka, loaded.directory), codes)
        await _print_all(_state(loaded, None, connect, predicting=False), codes)
    else:
        client = mongodb.connect(config.mongodb.url, config.mongodb.driver, sticky=True)
        try:
            reached = await _print_all(_mongodb(loaded, client, connect), codes)
            # Without MongoDB there is nothing to report about a state that is kept there.
            if reached or config.state.url:
                await _print_all(_state(loaded, client, connect, predicting=reached), codes)
        finally:
            await mongodb.close(client)
    for problem in problems:
        _print(False, str(problem))
        codes.add(ConfigError.exit_code)
    for finding in await trials:
        _print_finding(finding, codes)
    return codes


async def _print_all(findings: AsyncIterator[Finding], codes: set[int]) -> bool:
    """Print findings as they arrive; False if an error ends them."""
    from pymongo.errors import PyMongoError

    from mess.capture.client import explain

    try:
        async for finding in findings:
            _print_finding(finding, codes)
    except (MessError, PyMongoError) as error:
        reason = error if isinstance(error, MessError) else explain(error)
        first, *rest = str(reason).splitlines()
        _print(False, first, "\n".join(rest).strip())
        codes.add(reason.exit_code)
        return False
    return True


async def _mongodb(loaded: Loaded, client: Any, connect: Connect) -> AsyncIterator[Finding]:
    from mess.capture.client import LacksPrivilege
    from mess.capture.plan import plan
    from mess.capture.preflight import Finding, examine, role_command, verify
    from mess.relay.wanted_backfills import existing, wants_initial
    from mess.state.open import in_mongodb

    config = loaded.config
    state_database = config.state.database if in_mongodb(config.state.url) else None
    plans = plan(config)
    hello = await connect(client, verify)
    async for finding in examine(client, hello, plans, state_database):
        yield finding
    if wants_initial(config) or config.on_history_lost == "backfill":
        try:
            await existing(client, config, lambda namespace: False)
        except LacksPrivilege as error:
            yield Finding(False, f"backfill cannot list the collections: {error}", role_command(plans, state_database))


async def _kafka(source: KafkaSource, directory: Path) -> AsyncIterator[Finding]:
    from mess.capture.kafka.readiness import examine

    async for finding in examine(source, directory, _KAFKA_SECONDS):
        yield finding


async def _state(loaded: Loaded, client: Any, connect: Connect, *, predicting: bool) -> AsyncIterator[Finding]:
    from mess.capture.plan import plan
    from mess.capture.preflight import Finding
    from mess.relay.state_check import examine_positions, examine_state, predict
    from mess.replay.strays import strays
    from mess.state.open import in_mongodb
    from mess.stores import store_for
    from mess.telemetry.redact import redact

    config = loaded.config
    url = config.state.url or config.mongodb.url
    where = f"{redact(url)} (database {config.state.database})" if in_mongodb(url) else redact(url)
    prediction = None
    async with store_for(config, connect, lasting=False, retry_for=_RETRY_FOR) as store:
        async for finding in examine_state(store, where, ha=config.ha is not None):
            yield finding
        for warning in strays(config, await store.dead_letter_places()):
            yield Finding(True, warning, warning=True)
        if predicting:
            prediction = await predict(config, plan(config), store, client, connect)
    if prediction is not None:
        async for finding in examine_positions(config, prediction, client):
            yield finding


def _print_finding(finding: Finding, codes: set[int]) -> None:
    _print(finding.ok, finding.what, finding.remedy, warning=finding.warning)
    if not finding.ok:
        codes.add(finding.exit_code)


def _print(ok: bool, what: str, remedy: str = "", *, warning: bool = False) -> None:
    from rich.console import Console

    from mess.telemetry.printable import printable
    from mess.telemetry.redact import redact

    out = Console(soft_wrap=True, highlight=False)
    sign = "[yellow]!![/]  " if ok and warning else "[green]ok[/]  " if ok else "[red]no[/]  "
    out.print(sign, end="")
    out.print(printable(redact(what)), markup=False)
    for line in remedy.splitlines():
        out.print(f"      {printable(redact(line))}", markup=False)
