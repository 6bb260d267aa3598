"""`mess gaps`: changes that the relay never received."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mess.cli.common import ConfigOption, UrlOption, load_config, run_async, show
from mess.cli.connecting import TimeoutOption
from mess.cli.root import app
from mess.cli.state import with_store

if TYPE_CHECKING:
    from bson import Timestamp

    from mess.state.store import Gap, StateStore

group = typer.Typer(help="Show the changes that the relay missed.", no_args_is_help=True)
app.add_typer(group, name="gaps")


@group.callback()
def _group() -> None:
    pass  # keeps `list` a subcommand while it is the only one


@group.command("list")
def list_(config: ConfigOption = None, url: UrlOption = None, timeout: TimeoutOption = None) -> None:
    """List every gap: which collections missed changes, between which times, and whether their stream continues."""

    async def read(store: StateStore) -> list[Gap]:
        return await store.gaps()

    found = run_async(with_store(load_config(config, mongodb__url=url), read, timeout))
    from rich.table import Table

    from mess.telemetry.printable import printable

    table = Table("id", "stream", "namespaces", "since", "until", "reason")
    table.columns[0].no_wrap = True  # ids are meant to be copied
    for gap in found:
        until = "open: the stream is stopped" if gap.open else _shown(gap.until)
        namespaces = "\n".join(map(printable, gap.namespaces))
        table.add_row(gap.id, printable(gap.stream), namespaces, _shown(gap.since), until, printable(gap.reason))
    show(table)


def _shown(time: Timestamp | None) -> str:
    return "unknown" if time is None else f"{time.as_datetime():%Y-%m-%d %H:%M:%S} UTC"
