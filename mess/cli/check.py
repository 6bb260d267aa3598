"""`mess check`: whether MongoDB will serve the config, and whether the endpoints answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import typer

from mess.cli.common import ConfigOption, UrlOption, load_config, run_async
from mess.cli.connecting import TimeoutOption, connecting
from mess.errors import ConfigError, MessError, SourceError

if TYPE_CHECKING:
    from mess.capture.preflight import Finding
    from mess.capture.reach import Connect
    from mess.config.load import Loaded

_ENDPOINT = 8


def check(config: ConfigOption = None, url: UrlOption = None, timeout: TimeoutOption = None) -> None:
    """Connect to MongoDB and to every endpoint, and tell, on one screen, whether they will serve the config, and how to
    mend what is missing. Nothing is delivered.

    Exit codes: 0 all is well, 2 config, 3 MongoDB will not serve it, 8 an endpoint does not answer; where several hold,
    the lowest.
    """
    loaded = load_config(config, mongodb__url=url)
    codes = run_async(_check(loaded, connecting(timeout)))
    if codes:
        raise typer.Exit(min(codes))


async def _check(loaded: Loaded, connect: Connect) -> set[int]:
    """Tell of everything, one line after another; the exit codes of what is not well."""
    from mess.relay.build import build_all
    from mess.relay.trial import endpoints, try_all

    built, problems = build_all(loaded)
    codes: set[int] = set()
    trials = asyncio.create_task(
        try_all(endpoints(built, loaded.config.plugins))
    )  # MongoDB may keep us waiting meanwhile
    try:
        async for finding in _mongodb(loaded, connect):
            if not _tell(finding.ok, finding.what, finding.mend):
                codes.add(SourceError.exit_code)
    except MessError as error:
        _tell(False, str(error))
        codes.add(error.exit_code)
    for problem in problems:
        _tell(False, str(problem))
        codes.add(ConfigError.exit_code)
    for finding in await trials:
        if not _tell(finding.ok, finding.what, finding.mend):
            codes.add(_ENDPOINT)
    return codes


async def _mongodb(loaded: Loaded, connect: Connect) -> AsyncIterator[Finding]:
    from pymongo.errors import PyMongoError

    from mess.capture import client as mongodb
    from mess.capture.plan import plan
    from mess.capture.preflight import examine

    config = loaded.config
    client = mongodb.connect(config.mongodb.url, config.mongodb.driver, sticky=True)
    try:
        state_database = None if (config.state.url or "").startswith("sqlite") else config.state.database
        async for finding in examine(client, plan(config), state_database, connect):
            yield finding
    except PyMongoError as error:
        raise mongodb.explain(error) from error
    finally:
        await mongodb.close(client)


def _tell(ok: bool, what: str, mend: str = "") -> bool:
    from rich.console import Console

    from mess.telemetry.redact import redact

    out = Console(soft_wrap=True, highlight=False)
    out.print("[green]ok[/]  " if ok else "[red]no[/]  ", end="")
    out.print(redact(what), markup=False)
    for line in mend.splitlines():
        out.print(f"      {redact(line)}", markup=False)
    return ok
