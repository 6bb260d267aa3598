"""A scenario's dead letters: found in the state, and replayed as a user would."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import sys
from asyncio import subprocess
from pathlib import Path

from tests.checker.dead_letters import in_mongodb, in_sqlite

_SECONDS = 60.0


class Letters:
    """The dead letters of the relay `name`, in the state database `state`, or in `file` where `in_file`."""

    def __init__(self, url: str, state: str, file: Path, name: str, *, in_file: bool) -> None:
        self._url = url
        self._state = state
        self._file = file
        self._name = name
        self._in_file = in_file

    def find(self) -> dict[str, str]:
        """The reasons by the ids of the events."""
        if not self._in_file:
            return in_mongodb(self._url, self._state, self._name)
        with contextlib.suppress(sqlite3.OperationalError):  # there is no file yet
            return in_sqlite(self._file, self._name)
        return {}

    async def replay(self, config: Path) -> str:
        """Have all of them delivered again, by `mess dead-letters replay`; what it prints."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mess", "dead-letters", "replay", "--all", f"--config={config}"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            async with asyncio.timeout(_SECONDS):
                return (await process.communicate())[0].decode().strip()
        except TimeoutError:
            process.kill()
            return f"no end within {_SECONDS:g} s"
