"""`mess schema`: the config file's JSON Schema."""

from __future__ import annotations

import json

from mess.cli.common import say
from mess.cli.root import app


@app.command()
def schema() -> None:
    """Print the JSON Schema of the config file, for editors and other tools."""
    from mess.config.schema import json_schema

    say(json.dumps(json_schema(installed=True), indent=2))
