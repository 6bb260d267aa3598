"""`mess status`: the relay on one screen."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any

import typer

from mess.cli.admin_client import AdminOption, TokenFileOption, admin_client
from mess.cli.common import ConfigOption, print_json, run_async
from mess.cli.root import app

_BETWEEN = 1.0  # seconds
_ROWS = 40
_NARROWEST = 80


@app.command()
def status(
    rates: Annotated[
        bool, typer.Option("--rates/--no-rates", help="Look twice, a second apart, to show events per second.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON: the answer of /api/v1/status.")] = False,
    config: ConfigOption = None,
    admin: AdminOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Show whether the running relay is ready, what its streams, pipelines and steps do, and why they wait.

    Of many pipelines it shows those that wait, and the busiest ones. --json shows everything.

    Exit codes: 0 ready, 1 not ready, 2 config, 9 no relay answers.
    """
    now, before = run_async(_look(config, admin, token_file, twice=rates and not as_json))
    if as_json:
        print_json(now)
    else:
        print_screen(now, before)
    raise typer.Exit(0 if now["ready"] else 1)


def print_screen(now: dict[str, Any], before: dict[str, Any] | None) -> None:
    """Print the relay at a glance; without a terminal, at least 80 columns wide."""
    from rich.console import Console

    from mess.cli.screen import screen

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _NARROWEST)
    console.print(screen(now, before, rows=_ROWS))


async def _look(
    config: Path | None, admin: str | None, token_file: Path | None, *, twice: bool
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    async with admin_client(config, admin, token_file) as client:
        first = await client.status()
        if not twice:
            return first, None
        await asyncio.sleep(_BETWEEN)
        return await client.status(), first
