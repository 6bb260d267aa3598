"""How long-running commands end: in order at a signal, and at once when nothing else helps."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from typing import NoReturn, Protocol

import typer

_KILLED_TWICE = 130


class Stoppable(Protocol):
    """Work that ends soon after it is asked to."""

    @property
    def stopping(self) -> bool:
        """Whether it has been asked."""

    def stop(self) -> None:
        """Ask it to end in order."""


def stop_on_signals(work: Stoppable) -> None:
    """Have SIGTERM and Ctrl-C stop `work`; a second signal ends the process at once, with exit code 130."""

    def on_signal() -> None:
        if work.stopping:
            os._exit(_KILLED_TWICE)
        work.stop()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)


def leave(code: int) -> NoReturn:
    """End the process with this exit code, even where a user's function hangs in a thread."""
    sys.stdout.flush()
    sys.stderr.flush()
    if any(thread.name.startswith("mess-function") for thread in threading.enumerate()):
        os._exit(code)
    raise typer.Exit(code)
