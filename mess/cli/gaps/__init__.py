"""`mess gaps`: changes that the relay did not deliver. A command adds itself to `group.group`.

Start reading at `listing`.
"""

from __future__ import annotations

from mess.cli.gaps.group import group
from mess.cli.root import app, import_modules

app.add_typer(group, name="gaps")
import_modules(__name__, __path__)
