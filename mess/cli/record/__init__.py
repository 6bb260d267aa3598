"""`mess record`: save real events as cases for `mess test`.

Start reading at `command`.
"""

from __future__ import annotations

from mess.cli.root import import_modules

import_modules(__name__, __path__)
