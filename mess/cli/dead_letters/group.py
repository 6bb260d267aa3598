"""The command that those about dead letters belong to."""

from __future__ import annotations

import typer

group = typer.Typer(help="List, replay or discard the events that were given up.", no_args_is_help=True)
