"""Detects when the files of an open SQLite database are deleted or replaced."""

from __future__ import annotations

import os
from pathlib import Path

from mess.errors import StateError


class OpenFiles:
    """The database and its write-ahead log, as they are when this is created: after the database was opened and
    written.

    A connection continues to write to a file that was deleted or renamed, where nobody finds it any more.
    """

    def __init__(self, path: Path) -> None:
        self._path = Path(os.path.abspath(path))
        self._log = Path(f"{os.path.realpath(path)}-wal")
        self._database = _identity(path)
        self._wal = _identity(self._log)

    def check(self) -> None:
        """Raises StateError if one of them is no longer in its place."""
        if (found := _identity(self._path)) != self._database:
            what = "deleted or moved" if found is None else "replaced by another file"
            self._fail(self._path, what)
        if self._wal is not None and (found := _identity(self._log)) != self._wal:
            self._fail(self._log, "deleted or moved" if found is None else "replaced by another file")

    def _fail(self, path: Path, what: str) -> None:
        raise StateError(
            f"state.url: {path} was {what} while the relay was using it, so progress cannot be recorded. Stop every "
            f"process that replaces this file, delete {self._log} and put the file back if you have it, and start the "
            "relay again"
        )


def _identity(path: Path) -> tuple[int, int] | None:
    """Device and inode; None if there is no such file. A file that is only known under another name counts as
    deleted."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_nlink else None
