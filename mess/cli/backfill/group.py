"""The command that those about backfills belong to, and what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from mess.commands import command
from mess.errors import ConfigError

if TYPE_CHECKING:
    from mess.state.store import StateStore

group = typer.Typer(help="Send documents that existed before.", no_args_is_help=True)


def unknown(id: str) -> ConfigError:  # noqa: A002 - the record's name for it
    """The error for an id that no backfill has."""
    return ConfigError(f"there is no backfill {id}; `{command('backfill list')}` shows them")


def counted(documents: int | None) -> str:
    """`about 1,200 documents`."""
    if documents is None:
        return "an unknown number of documents"
    return f"about {documents:,} document{'' if documents == 1 else 's'}"


async def not_running(store: StateStore) -> str | None:
    """The name of the relay if no process runs it now."""
    return None if await store.alive() else store.relay
