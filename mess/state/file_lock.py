"""A file lock that the kernel releases when its process ends, however that happens."""

from __future__ import annotations

import contextlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@dataclass(slots=True)
class _Open:
    descriptor: int
    process: int
    holders: int = 1


# POSIX locks belong to the process: a second descriptor would get the lock as well, and closing it would drop the lock.
# Unlike flock's, they are not inherited by processes that a user's function starts.
_open: dict[str, _Open] = {}
_guard = threading.Lock()


class FileLock:
    """A lock on the file `path`, which is created if it does not exist, and never deleted.

    Within one process it may be acquired several times, and is released with the last holder. Without POSIX locks (on
    Windows), it can always be acquired and never appears as held.
    """

    def __init__(self, path: Path) -> None:
        self._path = os.path.abspath(path)
        self._mine: _Open | None = None

    def acquire(self) -> bool:
        """Acquire the lock; False if another process has it. Does nothing if it is already held, unless the file was
        deleted: then the new file is locked. Raises OSError if the file system has no locks."""
        with _guard:
            current = _open.get(self._path)
            if current is not None and (current.process != os.getpid() or not self._is_in_place(current)):
                del _open[self._path]  # inherited by a fork, without its locks; or of a deleted file
                current = None
            if current is None:
                descriptor = _lock(self._path)
                if descriptor is None:
                    return False
                self._let_go()
                current = self._mine = _open[self._path] = _Open(descriptor, os.getpid())
            elif current is not self._mine:
                self._let_go()
                current.holders += 1
                self._mine = current
            return True

    def release(self) -> None:
        """Release the lock, if it is held."""
        with _guard:
            self._let_go()

    def is_held(self) -> bool:
        """Whether any process, including this one, has the lock."""
        with _guard:
            current = _open.get(self._path)
            if current is not None and current.process == os.getpid() and self._is_in_place(current):
                return True
            if fcntl is None or not os.path.exists(self._path):
                return False
            descriptor = _lock(self._path)
            if descriptor is None:
                return True
            os.close(descriptor)
            return False

    def _is_in_place(self, current: _Open) -> bool:
        return _same(current.descriptor, self._path)

    def _let_go(self) -> None:
        mine, self._mine = self._mine, None
        if mine is None or mine.process != os.getpid():
            return
        mine.holders -= 1
        if not mine.holders:
            if _open.get(self._path) is mine:
                del _open[self._path]
            with contextlib.suppress(OSError):
                os.close(mine.descriptor)


def _lock(path: str) -> int | None:
    """A descriptor of the file, locked; None if another process has the lock."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            if fcntl is not None:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same(descriptor, path):
                return descriptor
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # deleted in the meantime


def _same(descriptor: int, path: str) -> bool:
    """Whether the descriptor's file is still the one at that path."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except OSError:
        return False
