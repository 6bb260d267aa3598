"""`mess backfill pause`, `resume` and `cancel`."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated

import typer

from mess.cli.backfill.group import group, not_running, unknown
from mess.cli.common import ConfigOption, UrlOption, load_config, run_async, say
from mess.cli.connecting import TimeoutOption
from mess.cli.state import with_store
from mess.commands import command
from mess.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from mess.state.store import Backfill, StateStore

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The backfill's id, as `list` shows it.")]


@group.command()
def pause(id: IdArgument, config: ConfigOption = None, url: UrlOption = None, timeout: TimeoutOption = None) -> None:  # noqa: A002
    """Pause a backfill. What is in flight is still delivered; `resume` continues after it."""
    _want(id, "paused", "pauses", config, url, timeout)


@group.command()
def resume(id: IdArgument, config: ConfigOption = None, url: UrlOption = None, timeout: TimeoutOption = None) -> None:  # noqa: A002
    """Continue a backfill that is paused or has failed, after the last document that is done."""
    _want(id, "running", "continues", config, url, timeout)


@group.command()
def cancel(id: IdArgument, config: ConfigOption = None, url: UrlOption = None, timeout: TimeoutOption = None) -> None:  # noqa: A002
    """End a backfill for good. What is in flight is still delivered."""
    _want(id, "cancelled", "ends", config, url, timeout)


def _want(
    id: str,  # noqa: A002
    wanted: str,
    effect: str,
    config: Path | None,
    url: str | None,
    timeout: float | None,
) -> None:
    loaded = load_config(config, mongodb__url=url)
    if not id.isascii():  # no store can even look for some texts
        raise unknown(id)

    async def change(store: StateStore) -> tuple[Backfill | None, str | None]:
        return await store.want_backfill(id, wanted), await not_running(store)

    backfill, absent = run_async(with_store(loaded, change, timeout))
    if backfill is None:
        raise unknown(id)
    if backfill.ended:
        raise ConfigError(f"{id} has ended: {backfill.progress.state}. {_remedy(backfill)}")
    when = "within a second" if absent is None else f"as soon as the relay {absent!r} runs"
    say(f"{id} ({backfill.namespace}) {effect} {when}")


def _remedy(backfill: Backfill) -> str:
    if backfill.progress.state == "failed":
        return f"`{command(f'backfill resume {backfill.id}')}` continues it"
    return f"`{command(f'backfill start {shlex.quote(str(backfill.namespace))}')}` sends the documents again"
