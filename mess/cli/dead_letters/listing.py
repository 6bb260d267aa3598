"""`mess dead-letters list` and `show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mess.cli.common import ConfigOption, UrlOption, load_config, print_json, run_async, say
from mess.cli.connecting import TimeoutOption
from mess.cli.dead_letters.choice import All, Choice, choosing
from mess.cli.dead_letters.group import group
from mess.cli.state import with_store
from mess.commands import command
from mess.errors import ConfigError
from mess.event import document_of
from mess.telemetry.printable import printable
from mess.telemetry.redact import redact

if TYPE_CHECKING:
    from mess.state.store import DeadLetter, StateStore

_MAX_KEY = 60


@group.command("list")
@choosing
def list_(
    choice: Choice,
    limit: Annotated[int, typer.Option(help="The maximum number, newest first.", min=0)] = 50,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """List dead letters, newest first."""
    loaded = load_config(config, mongodb__url=url)

    async def collect(store: StateStore) -> tuple[list[DeadLetter], int, int]:
        wanted = await choice.find(store, loaded.config)
        found = [letter async for letter in store.dead_letters(wanted, limit=limit)]
        return found, await store.count_dead_letters(wanted), await store.count_dead_letters()

    letters, matching, total = run_async(with_store(loaded, collect, timeout))
    if json:
        shown = [shape(letter, whole=False) for letter in letters]
        print_json({"total": total, "matching": matching, "letters": shown})
        return
    _print(letters)
    say(f"{len(letters)} shown of {total}" + ("" if choice.everything else f", {matching} matching"))


@group.command()
@choosing
def show(
    choice: Choice,
    all_: All = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Print dead letters as JSON, the oldest change first: the original event, the body to be sent, the reason, and the
    last attempts."""
    choice.demand(all_)
    loaded = load_config(config, mongodb__url=url)

    async def print_all(store: StateStore) -> int:
        pointers = await store.pointers(await choice.find(store, loaded.config))
        choice.all_found(pointers)
        for pointer in pointers:
            letter = await store.dead_letter(pointer.id)
            if letter is not None:
                print_json(shape(letter))
        return len(pointers)

    if not run_async(with_store(loaded, print_all, timeout)):
        raise ConfigError(f"no dead letter matches; `{command('dead-letters list')}` shows them")


def shape(letter: DeadLetter, *, whole: bool = True) -> dict[str, Any]:
    """A letter as users see it; event, body and attempts only if `whole`."""
    head = {
        "id": letter.id,
        "pipeline": letter.pipeline,
        "step": letter.step,
        "namespace": str(letter.namespace),
        "operation": letter.operation,
        "key": letter.key,
        "reason": redact(letter.reason),
        "error": letter.error,
        "attempts": letter.attempts,
        "time": letter.time,
    }
    if not whole:
        return head
    history = [{name: getattr(attempt, name) for name in attempt.__slots__} for attempt in letter.history]
    # Letters of an older version may contain what is now known to be secret.
    for attempt in history:
        attempt["reason"], attempt["response"] = redact(attempt["reason"]), redact(attempt["response"] or "") or None
    return {
        **head,
        "document": document_of(letter.event, letter.looked_up) if isinstance(letter.event, dict) else None,
        "backfill": letter.backfill or None,
        "history": history,
        "event": letter.event,
        "body": letter.body,
    }


def _print(letters: list[DeadLetter]) -> None:
    from rich.console import Console
    from rich.table import Table

    from mess.state.keys import shown_key

    # Ids are meant to be copied: on a narrow terminal, wrap lines rather than cutting them.
    table = Table("time (UTC)", "id", "namespace", "_id", "operation", "pipeline", "step", "reason", box=None)
    for column in table.columns:
        column.no_wrap, column.overflow = True, "ignore"
    for letter in letters:
        cells = (
            letter.id,
            str(letter.namespace),
            _short(shown_key(letter.key)),
            letter.operation,
            letter.pipeline,
            letter.step,
            redact(letter.reason),
        )
        table.add_row(f"{letter.time:%Y-%m-%d %H:%M:%S}", *map(printable, cells))
    Console(width=10_000, soft_wrap=True, markup=False).print(table)


def _short(text: str) -> str:
    return text if len(text) <= _MAX_KEY else f"{text[:_MAX_KEY]}…"
