"""The command that those about the config belong to."""

from __future__ import annotations

import typer

group = typer.Typer(help="Look into the config.", no_args_is_help=True)
