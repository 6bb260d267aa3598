"""Standard output, from many threads, for as long as someone reads it."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

_lock = threading.Lock()


class LineLogger:
    """The end of structlog's chain: writes lines to whatever `sys.stdout` is.

    When the reader has gone, lines are thrown away: a relay must not fail on an event because its log is not read.
    """

    def __init__(self, name: str | None = None) -> None:
        self.name = name

    def msg(self, line: bytes) -> None:
        """Write a line, given without its end."""
        stream = sys.stdout
        with _lock:
            try:
                buffer = getattr(stream, "buffer", None)
                if buffer is None:
                    stream.write(line.decode("utf-8", "replace") + "\n")
                else:
                    buffer.write(line + b"\n")
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
