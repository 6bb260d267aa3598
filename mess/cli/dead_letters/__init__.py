"""`mess dead-letters`: events that were given up."""

from __future__ import annotations

import typer

from mess.cli.dead_letters import discard, export, listing, replay

app = typer.Typer(help="List, replay or discard the events that were given up.", no_args_is_help=True)
app.command("list")(listing.list_)
app.command()(listing.show)
app.command()(replay.replay)
app.command()(discard.discard)
app.command()(export.export)
