"""`make console-vendor`: copies the console's libraries from what npm has installed, with their licences.

npm checks the packages against the hashes in requirements/console/package-lock.json. Browsers find modules by address,
not by package: the one import between the libraries is rewritten. `--check` writes nothing, and fails if a copy
differs.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

_TARGET = Path(__file__).parents[1] / "mess" / "admin" / "console" / "vendor"
_FILES = {
    "preact/dist/preact.mjs": "preact.js",
    "preact/hooks/dist/hooks.mjs": "hooks.js",
    "preact/LICENSE": "preact.LICENSE",
    "htm/dist/htm.mjs": "htm.js",
    "htm/LICENSE": "htm.LICENSE",
    "uplot/dist/uPlot.iife.min.js": "uplot.js",
    "uplot/dist/uPlot.min.css": "uplot.css",
    "uplot/LICENSE": "uplot.LICENSE",
}
_IMPORT = re.compile(r'from"(preact)"')
_SOURCE_MAP = re.compile(r"\n?//# sourceMappingURL=\S+\s*$")


def main(modules: Path, *, check: bool) -> int:
    """Copy from `modules`, a folder `node_modules`; returns 1 if a copy differs and `check` forbids to write it."""
    different = 0
    for path, text in _copies(modules):
        if path.exists() and path.read_text() == text:
            continue
        different += 1
        print(f"{path.name} {'differs' if check else 'written'}")
        if not check:
            path.write_text(text)
    return 1 if check and different else 0


def _copies(modules: Path) -> Iterator[tuple[Path, str]]:
    for source, name in _FILES.items():
        text = (modules / source).read_text()
        if name.endswith(".js"):
            text = _IMPORT.sub(r'from"./\1.js"', _SOURCE_MAP.sub("\n", text))
        yield _TARGET / name, text


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), check="--check" in sys.argv))
