"""Writes lines to standard output or error, from many threads, for as long as someone reads them."""

from __future__ import annotations

import io
import os
import sys
import threading
from typing import Any, Literal

_lock = threading.Lock()


class LineLogger:
    """The last element of structlog's chain: writes lines to the current `sys.stdout` or `sys.stderr`.

    When the reader has gone, lines are discarded: a relay must not fail on an event because nobody reads its log.
    """

    def __init__(self, name: str | None = None, *, to: Literal["stdout", "stderr"] = "stdout") -> None:
        self.name = name
        self._to = to

    def msg(self, line: bytes) -> None:
        """Write a line, given without a line end."""
        stream = getattr(sys, self._to)
        with _lock:
            try:
                # A replacement stream, such as the one of a progress bar, may want to process what is written.
                if isinstance(stream, io.TextIOWrapper):
                    stream.buffer.write(line + b"\n")
                else:
                    stream.write(line.decode("utf-8", "replace") + "\n")
                stream.flush()
            except (OSError, ValueError, AttributeError):
                _abandon(stream)

    debug = info = warning = error = critical = exception = log = msg


def _abandon(stream: Any) -> None:
    # Otherwise Python reports the broken pipe when it flushes at exit (Python's docs: "Note on SIGPIPE").
    try:
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        pass  # closed, or not a real file: nothing to redirect
