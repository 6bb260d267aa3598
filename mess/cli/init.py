"""`mess init`: write a starter config file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mess.cli.common import say
from mess.cli.root import app
from mess.errors import ConfigError, Problem


@app.command()
def init(
    path: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("config/config.yml"),
    force: Annotated[bool, typer.Option("--force", help="Overwrite an existing file.")] = False,
) -> None:
    """Write a commented starter config file, with its JSON Schema beside it for editors."""
    import json

    from mess.config.schema import json_schema
    from mess.config.starter import template

    if path.exists() and not force:
        raise ConfigError(
            [Problem("exists already; choose another path, or overwrite it with --force", file=str(path))]
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(template())
        path.with_name("mess.schema.json").write_text(json.dumps(json_schema(installed=True), indent=2) + "\n")
    except OSError as error:
        raise ConfigError([Problem(f"cannot be written: {error.strerror}", file=str(path))]) from error
    say(f"wrote {path}; next: mess validate --config {path}")
