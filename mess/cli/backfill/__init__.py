"""`mess backfill`: documents that existed before. A command adds itself to `group.group`. Start reading at `start`."""

from __future__ import annotations

from mess.cli.backfill.group import group
from mess.cli.root import app, import_modules

app.add_typer(group, name="backfill")
import_modules(__name__, __path__)
