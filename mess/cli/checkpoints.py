"""`mess checkpoints`: how far each stream is done."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated

import typer

from mess.cli.common import ConfigOption, UrlOption, load_config, run_async
from mess.cli.connecting import TimeoutOption
from mess.cli.state import with_store
from mess.cli.times import moment
from mess.errors import ConfigError

if TYPE_CHECKING:
    from mess.state.store import Checkpoint, StateStore

app = typer.Typer(help="See and move how far each stream is done.", no_args_is_help=True)


@app.command("list")
def list_(config: ConfigOption = None, url: UrlOption = None, timeout: TimeoutOption = None) -> None:
    """List every stream's checkpoint."""
    checkpoints = run_async(with_store(load_config(config, mongodb__url=url), _all, timeout))
    from rich.console import Console
    from rich.table import Table

    table = Table("stream", "done up to", "recorded")
    for checkpoint in sorted(checkpoints, key=lambda found: found.stream):
        table.add_row(checkpoint.stream, _time(checkpoint), f"{checkpoint.updated:%Y-%m-%d %H:%M:%S} UTC")
    Console().print(table)


@app.command("set")
def set_(
    time: Annotated[datetime, typer.Argument(help="An ISO time, or an age like 2h.", parser=moment, metavar="TIME")],
    stream: Annotated[str | None, typer.Option(help="Only this stream.", show_default=False)] = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Let streams begin at a time when the relay is next started. A relay that is running stops."""
    from bson import Timestamp

    from mess.capture.resume import moved

    begin = Timestamp(int(time.timestamp()), 1)

    async def move(store: StateStore) -> list[str]:
        chosen = _chosen(await store.checkpoints(), stream)
        for checkpoint in chosen:
            await store.set_checkpoint(replace(moved(checkpoint, begin), updated=datetime.now(timezone.utc)))
        return [checkpoint.stream for checkpoint in chosen]

    for name in run_async(with_store(load_config(config, mongodb__url=url), move, timeout)):
        typer.echo(f"{name}: begins at {time.astimezone(timezone.utc):%Y-%m-%d %H:%M:%S} UTC")


@app.command()
def reset(
    stream: Annotated[str | None, typer.Option(help="Only this stream.", show_default=False)] = None,
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Forget how far streams are done: they begin at the config's `start`. A relay that is running stops."""

    async def forget(store: StateStore) -> list[str]:
        chosen = _chosen(await store.checkpoints(), stream)
        for checkpoint in chosen:
            await store.delete_checkpoint(checkpoint.stream)
        return [checkpoint.stream for checkpoint in chosen]

    for name in run_async(with_store(load_config(config, mongodb__url=url), forget, timeout)):
        typer.echo(f"{name}: forgotten")


async def _all(store: StateStore) -> list[Checkpoint]:
    return await store.checkpoints()


def _chosen(checkpoints: list[Checkpoint], stream: str | None) -> list[Checkpoint]:
    chosen = [checkpoint for checkpoint in checkpoints if stream in (None, checkpoint.stream)]
    if not chosen:
        known = ", ".join(checkpoint.stream for checkpoint in checkpoints) or "none"
        raise ConfigError(
            f"no checkpoint of stream {stream!r}; known: {known}" if stream else "there are no checkpoints"
        )
    return chosen


def _time(checkpoint: Checkpoint) -> str:
    time = checkpoint.position.time
    return "unknown" if time is None else f"{time.as_datetime():%Y-%m-%d %H:%M:%S} UTC"
