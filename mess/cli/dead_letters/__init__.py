"""`mess dead-letters`: events that were given up. A command adds itself to `group.group`."""

from __future__ import annotations

from mess.cli.dead_letters.group import group
from mess.cli.root import app, import_modules

app.add_typer(group, name="dead-letters")
import_modules(__name__, __path__)
