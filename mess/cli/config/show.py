"""`mess config show`: the effective config, and where each value was said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mess.cli.common import ConfigOption, load_config, print_json, say
from mess.cli.config.group import group
from mess.commands import command
from mess.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mess.config.effective import EffectiveValue
    from mess.config.load import Loaded

_WIDEST = 60
"""Origins are aligned behind lines of up to this many characters."""


@group.command()
def show(
    collection: Annotated[
        str | None,
        typer.Option(
            help="Only what applies to this collection, such as shop.orders, or to events of a whole database.",
            metavar="DATABASE[.COLLECTION]",
            show_default=False,
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Also the defaults of what is not set.")] = False,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    config: ConfigOption = None,
) -> None:
    """Show the config as the relay would use it, with the file and line, the environment variable or the default that
    each value comes from. Secrets are shown as `***`.

    Connects to nothing.

    Exit codes: 0 shown, 2 the config has mistakes, or it does not select the collection.
    """
    loaded = load_config(config)
    from mess.config.effective import effective

    about: dict[str, Any] = {}
    if collection is None:
        values = [value for value in effective(loaded) if all_ or value.source != "default"]
    else:
        about, values = _applying(loaded, collection, all_)
    if json:
        shown = [value.model_dump(exclude={"keys"}) for value in values]
        print_json({**about, "options": shown} if about else shown)
        return
    if about:
        say(f"# {about['collection']}: pipeline {about['pipeline']!r}, change stream {about['stream']!r}")
    _print(values)


def _applying(loaded: Loaded, name: str, all_: bool) -> tuple[dict[str, Any], list[EffectiveValue]]:
    """The pipeline and the change stream of a collection, and what applies to it."""
    from mess.capture.plan import plan
    from mess.config.effective import applying
    from mess.config.scope import resolve
    from mess.event import Namespace

    db, _, coll = name.partition(".")
    options, values = resolve(loaded.config, db, coll), applying(loaded, db, coll)
    if options is None or values is None:
        raise ConfigError(f"the config does not select {name}; `{command('config show')}` shows what it selects")
    streams = (stream.name for stream in plan(loaded.config) if stream.selection.selects(Namespace(db, coll)))
    about = {"collection": name, "pipeline": options.pipeline.name, "stream": next(streams, None)}
    return about, [value for value in values if all_ or value.source != "default" or _matters(value)]


def _matters(value: EffectiveValue) -> bool:
    """Whether a default says something about a collection: those of steps, and what is not limited, do not."""
    return len(value.keys) == 1 and value.value not in (None, [])


def _print(values: Sequence[EffectiveValue]) -> None:
    from rich.console import Console
    from rich.text import Text

    from mess.config.outline import outline
    from mess.telemetry.printable import printable

    lines = [(printable(line), "" if value is None else printable(value.origin)) for line, value in outline(values)]
    width = max((len(line) for line, _ in lines if len(line) <= _WIDEST), default=0)
    console = Console(soft_wrap=True, highlight=False)
    for line, origin in lines:
        if not origin:
            say(line)
        elif console.is_terminal:
            console.print(Text.assemble(f"{line:{width}}  ", (f"# {origin}", "dim")))
        else:
            say(f"{line:{width}}  # {origin}")
