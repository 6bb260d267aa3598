"""`mess validate`: the config, without connecting to anything."""

from __future__ import annotations

import typer

from mess.cli.common import ConfigOption, load_config


def validate(config: ConfigOption = None) -> None:
    """Check the config file, without connecting to anything; every mistake is told at once.

    Exit codes: 0 valid (warnings are told), 2 mistakes.
    """
    loaded = load_config(config)
    from rich.console import Console

    from mess.capture.plan import plan

    out = Console(soft_wrap=True, highlight=False)
    for warning in loaded.warnings:
        out.print(f"[yellow]warning:[/] {warning}", markup=True)
    streams = plan(loaded.config)
    out.print(f"[green]valid:[/] {loaded.path}: {len(streams)} change stream{'s' if len(streams) != 1 else ''}")
    for stream in streams:
        typer.echo(f"  {stream.selection}")
