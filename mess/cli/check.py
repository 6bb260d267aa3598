"""`mess check`: whether MongoDB will serve the config."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mess.cli.common import ConfigOption, UrlOption, load_config, run_async

if TYPE_CHECKING:
    from mess.config.model import Config


def check(config: ConfigOption = None, url: UrlOption = None) -> None:
    """Connect to MongoDB and tell, on one screen, whether it will serve the config, and how to mend what is missing.

    Exit codes: 0 all is well, 2 config, 3 MongoDB will not serve it.
    """
    loaded = load_config(config, mongodb__url=url)
    if not run_async(_check(loaded.config)):
        raise typer.Exit(3)


async def _check(config: Config) -> bool:
    from rich.console import Console

    from mess.capture import client as mongodb
    from mess.capture.plan import plan
    from mess.capture.preflight import examine

    out = Console(soft_wrap=True, highlight=False)
    client = mongodb.connect(config.mongodb.url, config.mongodb.driver, sticky=True)
    fine = True
    try:
        state_database = None if (config.state.url or "").startswith("sqlite") else config.state.database
        async for finding in examine(client, plan(config), state_database):
            fine = fine and finding.ok
            out.print("[green]ok[/]  " if finding.ok else "[red]no[/]  ", end="")
            out.print(finding.what, markup=False)
            for line in finding.mend.splitlines():
                out.print(f"      {line}", markup=False)
    finally:
        await mongodb.close(client)
    return fine
