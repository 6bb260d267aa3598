"""`mess dead-letters`: the events that were given up on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mess.cli.common import ConfigOption, UrlOption, load_config, run_async
from mess.cli.state import with_store
from mess.errors import ConfigError
from mess.event import Namespace

if TYPE_CHECKING:
    from mess.state.store import DeadLetter, StateStore

app = typer.Typer(help="See the events that were given up on.", no_args_is_help=True)


@app.command("list")
def list_(
    pipeline: Annotated[str | None, typer.Option(help="Only this pipeline's.", show_default=False)] = None,
    step: Annotated[str | None, typer.Option(help="Only this step's.", show_default=False)] = None,
    namespace: Annotated[str | None, typer.Option(help="Only database.collection's.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(help="How many at the most, the newest first.")] = 50,
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """List dead letters, the newest first."""

    async def collect(store: StateStore) -> tuple[list[DeadLetter], int]:
        chosen = Namespace(*namespace.split(".", 1)) if namespace else None
        found = store.dead_letters(pipeline=pipeline, step=step, namespace=chosen, limit=limit)
        return [letter async for letter in found], await store.count_dead_letters()

    letters, count = run_async(with_store(load_config(config, mongodb__url=url), collect))
    from rich.console import Console
    from rich.table import Table

    # Ids are there to be copied: a narrow terminal wraps lines rather than cutting them.
    table = Table("time (UTC)", "id", "namespace", "operation", "pipeline", "step", "reason", box=None)
    for column in table.columns:
        column.no_wrap, column.overflow = True, "ignore"
    for letter in letters:
        table.add_row(
            f"{letter.time:%Y-%m-%d %H:%M:%S}",
            letter.id,
            str(letter.namespace),
            letter.operation,
            letter.pipeline,
            letter.step,
            letter.reason,
        )
    Console(width=10_000, soft_wrap=True).print(table)
    typer.echo(f"{len(letters)} shown of {count}")


@app.command()
def show(
    id: Annotated[str, typer.Argument(help="The event's id.")],  # noqa: A002 - the user's word for it
    config: ConfigOption = None,
    url: UrlOption = None,
) -> None:
    """Print one dead letter as JSON: the event as it came, the body as it was to be sent, and the reason."""
    from dataclasses import asdict

    from rich.console import Console

    from mess import codec

    async def find(store: StateStore) -> DeadLetter | None:
        return await store.dead_letter(id)

    letter = run_async(with_store(load_config(config, mongodb__url=url), find))
    if letter is None:
        raise ConfigError(f"no dead letter {id}; `mess dead-letters list` shows them")
    shown = asdict(letter) | {"namespace": str(letter.namespace)}
    Console(soft_wrap=True).print_json(codec.plain(shown).decode())
