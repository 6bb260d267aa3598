"""Files: safe reads of user-named files, limited in time and size, and private writes of files that contain
documents."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import stat
import time
from pathlib import Path

_KIB, _MIB = 1024, 1024 * 1024
PRIVATE = 0o600
"""The mode of files that contain documents: only their owner can read and write them."""
_PIPE_SECONDS = 5.0


def read_bounded(path: Path, limit: int) -> bytes:
    """Read a file of at most `limit` bytes, or a pipe that ends within 5 seconds.

    Otherwise raises OSError, with a `strerror` that says what is wrong.
    """
    # Opening a pipe, or some devices, would block until the other side opens it.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _check(descriptor, limit, pipes=True)
        return _content(descriptor, limit)
    finally:
        os.close(descriptor)


def check_bounded(path: Path, limit: int) -> None:
    """Make sure that `path` is a file of at most `limit` bytes, for a library that reads it itself. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _check(descriptor, limit, pipes=False)
    finally:
        os.close(descriptor)


def open_private(path: str) -> int:
    """Open a file for writing, created or emptied, that only its owner can read; return its descriptor.

    A file of this user that others can read is made private; anything but a regular file is left as it is. Raises
    OSError.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE)
    make_private(descriptor)
    return descriptor


def make_private(file: int | Path) -> None:
    """Remove all access rights of others from a regular file of this user, if the file system has rights."""
    with contextlib.suppress(OSError):
        found = os.stat(file)
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_mode & 0o077:
            os.chmod(file, PRIVATE)


def _check(descriptor: int, limit: int, *, pipes: bool) -> None:
    """Raises OSError unless an open descriptor is a file of at most `limit` bytes or, with `pipes`, a pipe."""
    found = os.fstat(descriptor)
    if stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    if not stat.S_ISREG(found.st_mode) and not (pipes and stat.S_ISFIFO(found.st_mode)):
        raise OSError(errno.EINVAL, "it is not a regular file")
    if found.st_size > limit:
        raise _too_large(limit)


def _content(descriptor: int, limit: int) -> bytes:
    parts: list[bytes] = []
    room, deadline = limit, time.monotonic() + _PIPE_SECONDS
    ready = select.poll()
    ready.register(descriptor, select.POLLIN)
    while True:
        if not ready.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise OSError(errno.ETIMEDOUT, f"the pipe did not end within {_PIPE_SECONDS:g} seconds")
        part = os.read(descriptor, min(room + 1, _MIB))
        if not part:
            return b"".join(parts)
        parts.append(part)
        room -= len(part)
        if room < 0:
            raise _too_large(limit)


def _too_large(limit: int) -> OSError:
    size = f"{limit // _MIB} MiB" if limit >= _MIB else f"{limit // _KIB} KiB"
    return OSError(errno.EFBIG, f"it is larger than {size}")
