"""Notices when files change."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from pathlib import Path

_LOOK = 1.0  # seconds

Snapshot = dict[Path, tuple[int, int, int] | None]


class FileWatch:
    """Looks at files once a second. `files` are those to be watched at the moment.

    A file counts as changed when another one is in its place, too, as when Kubernetes updates a ConfigMap.
    """

    def __init__(self, files: Callable[[], Collection[Path]]) -> None:
        self._files = files
        self._seen = self._look()

    async def changed(self) -> None:
        """Return when a file has changed since the last time, and then no more for a second: several may be written
        one after another."""
        pending = False
        while True:
            await asyncio.sleep(_LOOK)
            found = self._look()
            if any(found[path] != self._seen[path] for path in found if path in self._seen):
                pending = True
            elif pending:
                return
            self._seen = found

    def _look(self) -> Snapshot:
        return {path: _state(path) for path in self._files()}


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
