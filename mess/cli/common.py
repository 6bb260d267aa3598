"""What commands share: the options that name a config, and how errors are told."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from mess.commands import set_given
from mess.errors import ConfigError, MessError
from mess.telemetry.printable import printable

if TYPE_CHECKING:
    from mess.config.load import Loaded

T = TypeVar("T")

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


def load_config(path: Path | None, **overrides: Any) -> Loaded:
    """The config, with what the command line says of it. Raises ConfigError."""
    from mess.config.load import load

    set_given(path, url=overrides.get("mongodb__url") is not None)
    return load(
        path, overrides={key.replace("__", "."): value for key, value in overrides.items() if value is not None}
    )


def say(text: str, *, err: bool = False) -> None:
    """Print text, parts of which may come from outside, without control characters, which could command a terminal."""
    typer.echo(printable(text, lines=True), err=err)  # noqa: TID251 - the one place


def report(error: MessError) -> None:
    """Tell an error on standard error."""
    from mess.telemetry.logging import redact

    with contextlib.suppress(OSError, ValueError):  # nobody reads it; the exit code still counts
        if isinstance(error, ConfigError) and len(error.problems) > 1:
            print(f"{len(error.problems)} problems:", file=sys.stderr)  # noqa: T201 - the command line speaks
        print(printable(redact(str(error)), lines=True), file=sys.stderr)  # noqa: T201 - the command line speaks


def run_async(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine, on uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(work)
    return uvloop.run(work)


def tune_process() -> None:
    """Set the process up for moving many events: little garbage collection, prompt thread switches, and as many open
    files and connections as the system allows."""
    # What start-up made lives as long as the process; the collector need not look at it again, nor so often at
    # batches, which hold many objects and no cycles.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    # A user's function that computes in a thread is to give way soon, or health checks wait for it.
    sys.setswitchinterval(0.001)
    _raise_descriptor_limit()


def _raise_descriptor_limit() -> None:
    """Let the process open as many files and connections as the system allows its user (the hard limit)."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS allows fewer than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
