"""The command that all others belong to, and how it finds them."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable
from importlib import import_module

import typer

from mess.cli.common import say

app = typer.Typer(
    help="Relays MongoDB change streams to webhooks and queues: nothing lost, in order per document.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and exit.")) -> None:
    if version:
        from mess import __version__

        say(f"mess {__version__}")
        raise typer.Exit


def import_modules(package: str, path: Iterable[str]) -> None:
    """Import every module of a package, so that the commands in it add themselves. They appear in the modules' order.

    Every command pays for what these modules import, so they import what takes long inside their functions.
    """
    for module in pkgutil.iter_modules(path):
        import_module(f"{package}.{module.name}")
