"""`mess config`: look into the config. A command adds itself to `group.group`.

Start reading at `show`.
"""

from __future__ import annotations

from mess.cli.config.group import group
from mess.cli.root import app, import_modules

app.add_typer(group, name="config")
import_modules(__name__, __path__)
