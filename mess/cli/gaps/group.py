"""The command that those about gaps belong to, and what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mess.commands import command
from mess.errors import ConfigError

if TYPE_CHECKING:
    from mess.state.store import Gap, StateStore

group = typer.Typer(help="Show and repair what the relay did not deliver.", no_args_is_help=True)

IdArgument = Annotated[str, typer.Argument(help="The gap, as `mess gaps list` shows it.", metavar="ID")]


async def known(store: StateStore, id: str) -> Gap:  # noqa: A002 - the record's name for it
    """The gap with this id. Raises ConfigError if there is none."""
    for gap in await store.gaps():
        if gap.id == id:
            return gap
    raise ConfigError(f"there is no gap {id}; `{command('gaps list')}` shows them")
