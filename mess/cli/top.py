"""`mess top`: the relay on one screen, again every second."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mess.cli.admin_client import AdminOption, TokenFileOption, admin_client
from mess.cli.common import ConfigOption, run_async
from mess.cli.root import app
from mess.cli.status import print_screen
from mess.errors import RelayUnreachable

if TYPE_CHECKING:
    from rich.console import Console

_AROUND = 16  # lines that are no pipelines


@app.command()
def top(
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.2, max=3600)] = 1.0,
    config: ConfigOption = None,
    admin: AdminOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """Watch the running relay: what waits longest comes first. q or Ctrl-C ends it.

    Without a terminal, it prints what it sees once.

    Exit codes: 0 ended by the user, 2 config, 9 no relay answers at first.
    """
    try:
        run_async(_top(config, admin, token_file, every=every))
    except KeyboardInterrupt:
        raise typer.Exit(0) from None


async def _top(config: Path | None, admin: str | None, token_file: Path | None, *, every: float) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    async with admin_client(config, admin, token_file) as client:
        before = await client.status()
        if not console.is_terminal:
            await asyncio.sleep(every)
            print_screen(await client.status(), before)
            return
        with _quit_key() as ended, Live(console=console, screen=True, auto_refresh=False) as live:
            shown: Any = _render(before, None, console)
            while not ended.is_set():
                live.update(shown, refresh=True)
                try:
                    async with asyncio.timeout(every):
                        await ended.wait()
                except TimeoutError:
                    pass
                try:
                    now = await client.status()
                except RelayUnreachable as error:
                    shown = _gone(error)
                else:
                    shown, before = _render(now, before, console), now


def _render(now: dict[str, Any], before: dict[str, Any] | None, console: Console) -> Any:
    from mess.cli.screen import screen

    return screen(now, before, rows=max(3, console.height - _AROUND - len(now["streams"])))


def _gone(error: RelayUnreachable) -> Any:
    from rich.text import Text

    from mess.telemetry.printable import printable

    return Text(printable(f"{error}\n\nwaiting for the relay; q ends", lines=True), style="red")


@contextmanager
def _quit_key() -> Iterator[asyncio.Event]:
    """An event that is set when the user types q."""
    ended = asyncio.Event()
    if not sys.stdin.isatty():
        yield ended
        return
    import termios
    import tty

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    loop = asyncio.get_running_loop()

    def typed() -> None:
        if b"q" in os.read(number, 100).lower():
            ended.set()

    tty.setcbreak(number)
    loop.add_reader(number, typed)
    try:
        yield ended
    finally:
        loop.remove_reader(number)
        termios.tcsetattr(number, termios.TCSADRAIN, before)
