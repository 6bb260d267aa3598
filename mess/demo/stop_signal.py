"""Signals that end a program in order."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_signal() -> Iterator[asyncio.Event]:
    """An event that SIGINT, SIGTERM and SIGHUP (the terminal was closed) set; a second signal has its default
    effect."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def begin() -> None:
        stop.set()
        _restore(loop, signals)

    for number in signals:
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, begin)
    try:
        yield stop
    finally:
        _restore(loop, signals)


def _restore(loop: asyncio.AbstractEventLoop, signals: tuple[signal.Signals, ...]) -> None:
    for number in signals:
        with contextlib.suppress(NotImplementedError):
            loop.remove_signal_handler(number)
