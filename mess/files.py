"""Files: reading those that users name without being held up or filled, and writing those that hold documents."""

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
"""The mode of files that hold documents: only their owner can read and write them."""
_PIPE_SECONDS = 5.0


def read_bounded(path: Path, limit: int) -> bytes:
    """The content of a file of at most `limit` bytes, or of a pipe that ends within 5 seconds.

    Raises OSError, with a `strerror` that says what is wrong, for all else.
    """
    # Opening a pipe, or some devices, would wait for the other side.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _check(descriptor, limit, pipes=True)
        return _content(descriptor, limit)
    finally:
        os.close(descriptor)


def check_bounded(path: Path, limit: int) -> None:
    """Make sure that `path` is a file of at most `limit` bytes, for who reads it by itself. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        _check(descriptor, limit, pipes=False)
    finally:
        os.close(descriptor)


def open_private(path: str) -> int:
    """A descriptor of a file that is created, or emptied, for writing; only its owner can read it.

    A file of this user's that others may read is closed to them; what is no regular file is left as it is. Raises
    OSError.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, PRIVATE)
    make_private(descriptor)
    return descriptor


def make_private(file: int | Path) -> None:
    """Take from a regular file of this user's all rights that others have, where the file system knows any."""
    with contextlib.suppress(OSError):
        found = os.stat(file)
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_mode & 0o077:
            os.chmod(file, PRIVATE)


def _check(descriptor: int, limit: int, *, pipes: bool) -> None:
    """Raises OSError unless an open descriptor is of a file of at most `limit` bytes or, with `pipes`, of a pipe."""
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
