"""What commands share: the options that select a config, and error reporting."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import sys
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from mess.commands import set_given
from mess.errors import ConfigError, MessError
from mess.telemetry.printable import printable, printable_json

if TYPE_CHECKING:
    from rich.table import Table

    from mess.config.load import Loaded

T = TypeVar("T")

_ANY_WIDTH = 10_000

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="The config file: YAML, JSON or JS-style. Default: MESS_CONFIG, else config/config.yml (yaml, json, js).",
        show_default=False,
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option("--url", help="MongoDB's connection string, instead of the config's.", show_default=False),
]
DatabaseOption = Annotated[
    list[str] | None,
    typer.Option(help="Only this database, or those matching a glob. Can be repeated.", show_default=False),
]
CollectionOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Only this collection: its name, or database.name, or a glob. Can be repeated.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="As a JSON array.")]


def load_config(path: Path | None, **overrides: Any) -> Loaded:
    """Load the config with the command line's overrides. Raises ConfigError."""
    from mess.config.load import load

    set_given(path, url=overrides.get("mongodb__url") is not None)
    return load(
        path, overrides={key.replace("__", "."): value for key, value in overrides.items() if value is not None}
    )


def not_for_workers(loaded: Loaded, why: str) -> None:
    """For a command that is about MongoDB. Raises ConfigError, which says `why`, if the relay reads Kafka."""
    if loaded.config.source is not None:
        remedy = "use the config of the relay that reads MongoDB and writes to Kafka"
        raise ConfigError([loaded.problem(f"this relay reads Kafka, and {why}; {remedy}", ("source",))])


def show(table: Table) -> None:
    """Print a table: as wide as the terminal, or as wide as it is into a pipe or a file, where nothing is cut."""
    from rich.console import Console

    console = Console(markup=False)
    if not console.is_terminal:
        console.width = _ANY_WIDTH
    console.print(table)


def print_json(value: Any) -> None:
    """Print a value that may contain BSON's types as indented JSON."""
    from rich.console import Console
    from rich.highlighter import JSONHighlighter

    from mess.formats import bson_json

    text = printable_json(json.dumps(json.loads(bson_json.plain(value)), indent=2, ensure_ascii=False))
    console = Console(soft_wrap=True)
    if console.is_terminal:
        console.print(JSONHighlighter()(text))
    else:  # a hundred times as fast, which thousands of records need
        say(text)


def say(text: str, *, err: bool = False) -> None:
    """Print text that may come from outside, escaping control characters, which could control the terminal."""
    typer.echo(printable(text, lines=True), err=err)  # noqa: TID251 - the one place


def say_fields(fields: Mapping[str, str | None]) -> None:
    """Print names and texts, one a line, without those that are empty."""
    for name, text in fields.items():
        if text:
            say(f"{name + ':':<12} {printable(text)}")


def report(error: MessError) -> None:
    """Print an error to standard error."""
    from mess.telemetry.logging import redact

    with contextlib.suppress(OSError, ValueError):  # nobody reads it; the exit code still counts
        if isinstance(error, ConfigError) and len(error.problems) > 1:
            print(f"{len(error.problems)} problems:", file=sys.stderr)  # noqa: T201 - the command line speaks
        print(printable(redact(str(error)), lines=True), file=sys.stderr)  # noqa: T201 - the command line speaks


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine, on uvloop if it is available."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def tune_process() -> None:
    """Tune the process for moving many events: little garbage collection, prompt thread switches, and as many open
    files and connections as the system allows."""
    # Objects from startup live as long as the process, so the collector need not scan them again. It also need not run
    # as often for batches, which contain many objects and no cycles.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    # A user's function that computes in a thread must yield soon, or health checks wait for it.
    sys.setswitchinterval(0.001)
    _raise_descriptor_limit()


def _raise_descriptor_limit() -> None:
    """Raise the limit on open files and connections to the system's maximum for this user (the hard limit)."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS allows fewer than it reports
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
