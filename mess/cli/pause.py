"""`mess pause` and `mess resume`: let parts of a relay wait."""

from __future__ import annotations

import getpass
import re
import socket
from typing import TYPE_CHECKING, Annotated

import typer

from mess.cli.backfill.group import not_running
from mess.cli.common import ConfigOption, JsonOption, UrlOption, load_config, print_json, run_async, say
from mess.cli.connecting import TimeoutOption
from mess.cli.root import app
from mess.cli.state import with_store
from mess.commands import command
from mess.errors import ConfigError

if TYPE_CHECKING:
    from mess.config.load import Loaded
    from mess.state.store import Pause, StateStore, Target

_PARTITION = re.compile(r"\[\d+\]$")

StreamOption = Annotated[
    str | None, typer.Option("--stream", help="A stream, as `mess checkpoints list` names it.", show_default=False)
]
PipelineOption = Annotated[
    str | None,
    typer.Option("--pipeline", help='A pipeline, such as "shop.orders" or "top level".', show_default=False),
]
StepOption = Annotated[
    str | None,
    typer.Option("--step", help="Only this step of the pipeline; of a config's only pipeline, without --pipeline."),
]


@app.command()
def pause(
    stream: StreamOption = None,
    pipeline: PipelineOption = None,
    step: StepOption = None,
    reason: Annotated[str | None, typer.Option(help="Why, for whoever sees it later.", show_default=False)] = None,
    list_: Annotated[bool, typer.Option("--list", help="Only list what is paused.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Let a stream, a pipeline or one of its steps wait until `mess resume`.

    Deliveries in flight finish. The pause survives restarts, and the relay follows within about a second. Nothing is
    lost as long as MongoDB's oplog reaches back to where the stream waits: `mess status` shows how far that is.

    Exit codes: 0 paused, 2 config, or it has no such stream, pipeline or step, 3 MongoDB cannot be reached, 5 the state
    cannot be used.
    """
    loaded = load_config(config, mongodb__url=url)
    if list_:
        _list(loaded, timeout, as_json=as_json)
        return
    target = _target(loaded, stream, pipeline, step=step)

    async def store_it(store: StateStore) -> tuple[Pause, str | None]:
        from mess.state.pauses import Pause

        await store.pause(Pause.now(target, _who(), reason))
        [found] = [each for each in await store.pauses() if each.target == target]
        return found, await not_running(store)

    found, absent = run_async(with_store(loaded, store_it, timeout))
    if as_json:
        print_json([found.fields()])
        return
    if found.by != _who() or found.reason != reason:
        say(f"{target} has been paused since {found.since:%Y-%m-%d %H:%M:%S} UTC by {found.by}")
        return
    when = "pauses within about a second" if absent is None else f"will be paused when the relay {absent!r} runs"
    say(f"{target} {when}; `{command(f'resume {found.target.arguments}')}` continues")


@app.command()
def resume(
    stream: StreamOption = None,
    pipeline: PipelineOption = None,
    step: StepOption = None,
    all_: Annotated[bool, typer.Option("--all", help="Everything that is paused.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Continue what `mess pause` has paused. The relay follows within about a second.

    Exit codes: 0 it continues, 2 config, or it is not paused, 3 MongoDB cannot be reached, 5 the state cannot be used.
    """
    loaded = load_config(config, mongodb__url=url)
    target = None if all_ else _target(loaded, stream, pipeline, step=step, known=False)

    async def remove(store: StateStore) -> list[Target]:
        wanted = [pause.target for pause in await store.pauses()] if target is None else [target]
        return [each for each in wanted if await store.resume(each)]

    removed = run_async(with_store(loaded, remove, timeout))
    if as_json:
        print_json([{"stream": each.stream, "pipeline": each.pipeline, "step": each.step} for each in removed])
    else:
        for each in removed:
            say(f"{each} continues")
    if not removed:
        what = "nothing is" if target is None else f"{target} is not"
        raise ConfigError(f"{what} paused; `{command('pause --list')}` lists what is")


def _list(loaded: Loaded, timeout: float | None, *, as_json: bool) -> None:
    async def read(store: StateStore) -> list[Pause]:
        return await store.pauses()

    found = run_async(with_store(loaded, read, timeout))
    if as_json:
        print_json([pause.fields() for pause in found])
        return
    for pause in found:
        reason = f": {pause.reason}" if pause.reason else ""
        say(f"{pause.target}, since {pause.since:%Y-%m-%d %H:%M:%S} UTC, by {pause.by}{reason}")
    if not found:
        say("nothing is paused")


def _target(
    loaded: Loaded, stream: str | None, pipeline: str | None, *, step: str | None, known: bool = True
) -> Target:
    """What the options name. With `known`, the config must have it. Raises ConfigError."""
    from mess.capture.plan import plan
    from mess.config.scope import pipelines
    from mess.relay.build import stage_names
    from mess.similar import did_you_mean
    from mess.state.pauses import Target

    steps = {each.name: stage_names(each.steps) for each in pipelines(loaded.config)}
    if step is not None and pipeline is None and stream is None:
        having = [name for name, names in steps.items() if step in names]
        if len(having) > 1:
            raise ConfigError(f"several pipelines have a step {step!r}: {', '.join(map(repr, having))}; add --pipeline")
        pipeline = having[0] if having else next(iter(steps), None)
    try:
        target = Target(stream=stream, pipeline=pipeline, step=step)
    except ValueError as error:
        raise ConfigError(f"{error}: --stream, --pipeline, --step") from None
    if not known:
        return target
    source = loaded.config.source
    if source is not None and stream is not None:
        if stream.rpartition("[")[0] in source.kafka.topics and _PARTITION.search(stream):
            return target
        raise ConfigError(f"there is no partition {stream!r}; they are called like '{source.kafka.topics[0]}[0]'")
    named, names, what = (
        (stream, [each.name for each in plan(loaded.config)], "stream")
        if stream is not None
        else (pipeline, list(steps), "pipeline")
    )
    if named not in names:
        shown = ", ".join(map(repr, names))
        raise ConfigError(f"there is no {what} {named!r}; there are: {shown}{did_you_mean(named or '', names)}")
    if step is not None and step not in steps[pipeline or ""]:
        shown = ", ".join(map(repr, steps[pipeline or ""]))
        raise ConfigError(f"pipeline {pipeline!r} has no step {step!r}; it has: {shown}")
    return target


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user need not have a name
        user = "a user"
    return f"{user} at {socket.gethostname()}"
