"""`mess dead-letters discard`: delete dead letters."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from mess.cli.common import ConfigOption, UrlOption, load_config, run_async, say
from mess.cli.connecting import TimeoutOption
from mess.cli.dead_letters.choice import All, Choice, DryRun, choosing, letters
from mess.cli.dead_letters.group import group
from mess.cli.progress import progress
from mess.cli.state import with_store
from mess.errors import ConfigError

if TYPE_CHECKING:
    from mess.state.records import Pointer, Wanted
    from mess.state.store import StateStore


@group.command()
@choosing
def discard(
    choice: Choice,
    all_: All = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    dry_run: DryRun = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Delete dead letters permanently. Asks for confirmation first."""
    choice.demand(all_)
    loaded = load_config(config, mongodb__url=url)

    async def find(store: StateStore) -> tuple[Wanted, list[Pointer]]:
        wanted = await choice.find(store, loaded.config)
        return wanted, await store.pointers(wanted)

    wanted, pointers = run_async(with_store(loaded, find, timeout))
    choice.all_found(pointers)
    if dry_run or not pointers:
        say(f"{letters(len(pointers))} would be discarded" if pointers else "no dead letter matches")
        return
    if not yes:
        _ask(len(pointers))

    async def delete(store: StateStore) -> int:
        with progress("discarding", letters(len(pointers)), len(pointers)) as bar:
            return await store.delete_pointed(wanted, pointers, bar.advance)

    say(f"{letters(run_async(with_store(loaded, delete, timeout)))} discarded")


def _ask(count: int) -> None:
    if not sys.stdin.isatty():
        raise ConfigError(
            f"{letters(count)} would be deleted permanently; without a terminal to confirm on, pass --yes"
        )
    typer.confirm(f"Delete {letters(count)} permanently?", abort=True)
