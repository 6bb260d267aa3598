"""How long-running commands end: gracefully on a signal, immediately on a second one."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import NoReturn, Protocol

import typer

_KILLED_TWICE = 130


class Stoppable(Protocol):
    """Work that ends soon after `stop`."""

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""

    def stop(self) -> None:
        """Ask it to end gracefully."""


def stop_on_signals(work: Stoppable, *, hangup: Callable[[], None] | None = None) -> None:
    """Make SIGTERM and Ctrl-C stop `work`; a second signal ends the process immediately, with exit code 130.

    SIGHUP calls `hangup`; without it, it is ignored and logged.
    """

    def on_signal() -> None:
        if work.stopping:
            os._exit(_KILLED_TWICE)
        work.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    loop.add_signal_handler(signal.SIGHUP, hangup or _on_hangup)


def _on_hangup() -> None:
    from mess.telemetry.logging import get_logger

    get_logger("mess.relay").warning("SIGHUP ignored: only `mess run` has a config to reload")


def leave(code: int) -> NoReturn:
    """End the process with this exit code, even if a user's function hangs in a thread."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or nobody reads it any more
            stream.flush()
    if any(thread.name.startswith("mess-function") for thread in threading.enumerate()):
        os._exit(code)
    raise typer.Exit(code)
