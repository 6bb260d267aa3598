"""`mess schema`: the config file's JSON Schema."""

from __future__ import annotations

import json

import typer


def schema() -> None:
    """Print the JSON Schema of the config file, for editors and other tools."""
    from mess.config.schema import json_schema

    typer.echo(json.dumps(json_schema(installed=True), indent=2))
