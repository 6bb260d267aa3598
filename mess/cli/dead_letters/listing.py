"""`mess dead-letters list` and `show`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mess.cli.common import ConfigOption, UrlOption, load_config, run_async, say
from mess.cli.connecting import TimeoutOption
from mess.cli.dead_letters.choice import Ids, OfNamespace, Pipeline, Reason, Since, Step, Until, choose
from mess.cli.state import with_store
from mess.errors import ConfigError
from mess.printable import printable, printable_json
from mess.telemetry.redact import redact

if TYPE_CHECKING:
    from mess.state.store import DeadLetter, StateStore


def list_(
    ids: Ids = None,
    pipeline: Pipeline = None,
    step: Step = None,
    namespace: OfNamespace = None,
    since: Since = None,
    until: Until = None,
    reason: Reason = None,
    limit: Annotated[int, typer.Option(help="How many at the most, the newest first.", min=0)] = 50,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """List dead letters, the newest first."""
    wanted = choose(ids, pipeline, step, namespace, since, until, reason)

    async def collect(store: StateStore) -> tuple[list[DeadLetter], int, int]:
        found = [letter async for letter in store.dead_letters(wanted, limit=limit)]
        return found, await store.count_dead_letters(wanted), await store.count_dead_letters()

    letters, matching, total = run_async(with_store(load_config(config, mongodb__url=url), collect, timeout))
    if json:
        shown = [shape(letter, whole=False) for letter in letters]
        _print_json({"total": total, "matching": matching, "letters": shown})
        return
    _print(letters)
    say(f"{len(letters)} shown of {total}" + ("" if wanted.everything else f", {matching} matching"))


def show(
    id: Annotated[str, typer.Argument(help="The event's id.")],  # noqa: A002 - the user's word for it
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Print one dead letter as JSON: the event as it came, the body as it was to be sent, the reason, and the last
    attempts."""

    async def find(store: StateStore) -> DeadLetter | None:
        return await store.dead_letter(id)

    letter = run_async(with_store(load_config(config, mongodb__url=url), find, timeout))
    if letter is None:
        raise ConfigError(f"no dead letter {id}; `mess dead-letters list` shows them")
    _print_json(shape(letter))


def shape(letter: DeadLetter, *, whole: bool = True) -> dict[str, Any]:
    """A letter as users see it; without event, body and attempts, unless `whole`."""
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
    # Letters of an older version may hold what is known to be secret now.
    for attempt in history:
        attempt["reason"], attempt["response"] = redact(attempt["reason"]), redact(attempt["response"] or "") or None
    return {**head, "history": history, "event": letter.event, "body": letter.body}


def _print_json(value: Any) -> None:
    from rich.console import Console
    from rich.highlighter import JSONHighlighter

    from mess import codec

    text = json.dumps(json.loads(codec.plain(value)), indent=2, ensure_ascii=False)
    Console(soft_wrap=True).print(JSONHighlighter()(printable_json(text)))


def _print(letters: list[DeadLetter]) -> None:
    from rich.console import Console
    from rich.table import Table

    # Ids are there to be copied: a narrow terminal wraps lines rather than cutting them.
    table = Table("time (UTC)", "id", "namespace", "operation", "pipeline", "step", "reason", box=None)
    for column in table.columns:
        column.no_wrap, column.overflow = True, "ignore"
    for letter in letters:
        cells = (
            letter.id,
            str(letter.namespace),
            letter.operation,
            letter.pipeline,
            letter.step,
            redact(letter.reason),
        )
        table.add_row(f"{letter.time:%Y-%m-%d %H:%M:%S}", *map(printable, cells))
    Console(width=10_000, soft_wrap=True, markup=False).print(table)
