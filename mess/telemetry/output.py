"""Standard output or error, from many threads, for as long as someone reads it."""

from __future__ import annotations

import io
import os
import sys
import threading
from typing import Any, Literal

_lock = threading.Lock()


class LineLogger:
    """The end of structlog's chain: writes lines to whatever `sys.stdout` is, or `sys.stderr`.

    When the reader has gone, lines are thrown away: a relay must not fail on an event because its log is not read.
    """

    def __init__(self, name: str | None = None, *, to: Literal["stdout", "stderr"] = "stdout") -> None:
        self.name = name
        self._to = to

    def msg(self, line: bytes) -> None:
        """Write a line, given without its end."""
        stream = getattr(sys, self._to)
        with _lock:
            try:
                # What stands in for a stream, as below a progress bar, may want to see what is written.
                if isinstance(stream, io.TextIOWrapper):
                    stream.buffer.write(line + b"\n")
                else:
                    stream.write(line.decode("utf-8", "replace") + "\n")
                stream.flush()
            except (OSError, ValueError, AttributeError):
                _abandon(stream)

    debug = info = warning = error = critical = exception = log = msg


def _abandon(stream: Any) -> None:
    # Or Python complains of the broken pipe when it flushes at its end (Python's docs: "Note on SIGPIPE").
    try:
        number = stream.fileno()
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, number)
        os.close(nowhere)
    except (OSError, ValueError, AttributeError):
        pass  # closed, or not a real file: nothing to point elsewhere
