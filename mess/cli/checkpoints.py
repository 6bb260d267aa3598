"""`mess checkpoints`: how far each stream has been processed."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from mess.cli.common import (
    ConfigOption,
    JsonOption,
    UrlOption,
    load_config,
    not_for_workers,
    print_json,
    run_async,
    say,
    show,
)
from mess.cli.connecting import TimeoutOption, connecting, watched
from mess.cli.root import app
from mess.cli.state import with_store
from mess.cli.times import cluster_time, cluster_time_text
from mess.commands import command, quoted
from mess.errors import ConfigError
from mess.telemetry.printable import printable

if TYPE_CHECKING:
    from bson import Timestamp

    from mess.capture.region import Region
    from mess.config.load import Loaded
    from mess.relay.positions import Removed, Row
    from mess.state.store import StateStore

T = TypeVar("T")

group = typer.Typer(help="Show and change how far each stream has been processed.", no_args_is_help=True)
app.add_typer(group, name="checkpoints")

StreamOption = Annotated[str | None, typer.Option(help="Only this stream.", show_default=False)]
ForceOption = Annotated[bool, typer.Option("--force", help="Proceed even if the relay is running; this stops it.")]


_OFFSETS = (
    "its progress is the group's offsets: kafka-consumer-groups.sh shows them, and resets them while no worker runs"
)


@group.command("list")
def list_(
    as_json: JsonOption = False, config: ConfigOption = None, url: UrlOption = None, timeout: TimeoutOption = None
) -> None:
    """List every stream's position, and the positions of namespaces that are no longer watched."""

    async def read(store: StateStore) -> list[Row]:
        from mess.relay.positions import rows

        return await rows(store)

    loaded = load_config(config, mongodb__url=url)
    not_for_workers(loaded, _OFFSETS)
    found = run_async(with_store(loaded, read, timeout))
    if as_json:
        print_json([_fields(row) for row in found])
        return
    from rich.table import Table

    table = Table("stream", "namespaces", "processed up to", "recorded")
    for row in found:
        recorded = "" if row.updated is None else f"{row.updated:%Y-%m-%d %H:%M:%S} UTC"
        table.add_row(printable(row.stream), printable(row.namespaces), _shown(row.time), recorded)
    show(table)


def _fields(row: Row) -> dict[str, Any]:
    from mess.options.values import written_time

    return {
        "stream": row.stream,
        "namespaces": row.namespaces,
        "time": written_time(row.time.as_datetime()),
        "cluster_time": cluster_time_text(row.time),
        "recorded": None if row.updated is None else written_time(row.updated),
    }


@group.command("set")
def set_(
    time: Annotated[
        Any,
        typer.Argument(
            help="An ISO time, an age like 2h, or a cluster time as `reset` prints it (1766831212:17).",
            parser=cluster_time,
            metavar="TIME",
        ),
    ],
    stream: StreamOption = None,
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            help="Only these namespaces: DATABASE.COLLECTION, as names or globs, watched or not. Moves them back, "
            "never forward. Can be repeated.",
            show_default=False,
        ),
    ] = None,
    force: ForceOption = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Make streams resume from a given time at the relay's next start, whether they have a position or not.

    Prints the previous positions as commands that restore them. Changes that this skips are recorded as a gap. A time
    later than MongoDB's own is refused. A stream
    that is stopped because its history was lost continues at that time in the running relay.
    """
    if stream is not None and namespace:
        raise ConfigError("set either --stream or --namespace, not both")
    regions = _regions(namespace or [])
    loaded = load_config(config, mongodb__url=url)
    not_for_workers(loaded, _OFFSETS)

    async def move(store: StateStore) -> tuple[dict[str, Timestamp | None], Timestamp | None]:
        from mess.capture.oplog import oldest_kept
        from mess.capture.plan import assignments
        from mess.capture.start import explained, time_now
        from mess.relay.positions import resume_at, resume_regions_at, verify_resumable

        async def reach_of(client: Any) -> tuple[Timestamp, Timestamp | None]:
            return await explained(time_now(client)), await oldest_kept(client)

        latest, oldest = await _asked(loaded, timeout, reach_of)
        verify_resumable(time, latest)
        assigned = assignments(loaded.config)
        if regions:
            return await resume_regions_at(store, assigned, time, regions, force=force), oldest
        announce = loaded.config.gaps == "deliver"
        before = await resume_at(store, assigned, time, stream=stream, force=force, announce=announce)
        return before, oldest

    before, oldest = run_async(with_store(loaded, move, timeout))
    for name, earlier in before.items():
        say(f"{printable(name)}: resumes at {_shown(time)}. To undo this:")
        say(f"  {printable(_restoring(name, earlier))}")
    if oldest is not None and time < oldest:
        say(
            f"warning: MongoDB's oplog begins later, at {_shown(oldest)}. The changes before that are lost: the "
            "streams stop, unless the config says `on_history_lost: now`",
            err=True,
        )


@group.command()
def reset(
    stream: StreamOption = None,
    all_: Annotated[bool, typer.Option("--all", help="Every stream.")] = False,
    force: ForceOption = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Forget how far streams have been processed, so that they begin at the config's `start`.

    Prints what it removes as commands that restore it. Changes that this skips are recorded as a gap. A stream that is
    stopped because its history was lost continues from now in the running relay.
    """
    if (stream is None) == (not all_):
        raise ConfigError("name the stream to reset with --stream NAME, or reset every stream with --all")
    loaded = load_config(config, mongodb__url=url)
    not_for_workers(loaded, _OFFSETS)

    async def forget(store: StateStore) -> list[Removed]:
        from mess.capture.plan import assignments
        from mess.capture.start import explained, time_now
        from mess.relay.positions import forget

        async def now() -> Timestamp:
            return await _asked(loaded, timeout, lambda client: explained(time_now(client)))

        return await forget(
            store,
            assignments(loaded.config),
            now,
            stream=stream,
            force=force,
            begin=_begin(loaded.config.start),
            announce=loaded.config.gaps == "deliver",
        )

    removed = run_async(with_store(loaded, forget, timeout))
    if not removed:
        say("removed the damaged record")
    for each in removed:
        say(f"{printable(each.stream)} ({printable(each.namespaces)}): forgotten. To restore it:")
        say(f"  {printable(_restoring(each.stream, each.time, each.regions))}")


async def _asked(loaded: Loaded, timeout: float | None, ask: Callable[[Any], Coroutine[Any, Any, T]]) -> T:
    """Ask the watched MongoDB, and return its answer."""
    async with watched(loaded) as client:
        answer: T = await connecting(timeout)(client, ask)
        return answer


def _begin(start: str | datetime) -> Timestamp | None:
    """Where streams begin at the next start, as far as that is known now: `oldest` skips nothing."""
    from bson import Timestamp

    if isinstance(start, datetime):
        return Timestamp(int(start.timestamp()), 1)
    return Timestamp(0, 1) if start == "oldest" else None


def _regions(namespaces: Sequence[str]) -> list[Region]:
    from mess.capture.region import Region

    try:
        return [Region.parse(each) for each in namespaces]
    except ValueError as error:
        raise ConfigError(f"--namespace: {error}") from error


def _restoring(stream: str, time: Timestamp | None, regions: Sequence[Region] = ()) -> str:
    if time is None:
        return command(f"checkpoints reset --stream {quoted(stream)}")
    which = " ".join(f"--namespace {quoted(region.text)}" for region in regions) or f"--stream {quoted(stream)}"
    return command(f"checkpoints set {cluster_time_text(time)} {which}")


def _shown(time: Timestamp) -> str:
    return f"{time.as_datetime():%Y-%m-%d %H:%M:%S} UTC ({cluster_time_text(time)})"
