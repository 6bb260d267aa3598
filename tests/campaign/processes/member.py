"""One of several processes with one relay name."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

from tests.campaign.processes.recorder import PROCESS
from tests.fault.relay import RelayProcess

_STANDBY = '"event":"standby:'


class Member(RelayProcess):
    """A process that names itself in every request. It may end by itself, with exit code 6, while it is `excused`."""

    def __init__(
        self,
        name: str,
        folder: Path,
        config: Mapping[str, Any],
        *,
        prefix: tuple[str, ...] = (),
        host: str = "127.0.0.1",
        files: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.excused = False
        self.asked_to_end = False
        folder.mkdir()
        super().__init__(folder, _named(config, name), files, host=host)
        self.prefix = prefix
        self._said = 0
        self._warm = False

    async def start(self, *, ready: bool = True) -> None:
        """See `RelayProcess.start`."""
        self._said, self._warm, self.asked_to_end = len(self.text), False, False
        await super().start(ready=ready)

    async def warm(self, seconds: float) -> bool:
        """Whether it has come to stand by, or to read its source, within so many seconds from now."""
        deadline = time.monotonic() + seconds
        while self.running and not self._warm and time.monotonic() < deadline:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                self._warm = _STANDBY in self.text[self._said :] or (await self.get("/readyz"))[0] == 200
            if not self._warm:
                await asyncio.sleep(0.2)
        return self.running and self._warm

    def times(self, event: str, said: int) -> list[float]:
        """When it logged an event, in seconds since the epoch, after it had logged so many characters."""
        lines = (json.loads(line) for line in self.text[said:].splitlines() if f'"event":"{event}"' in line)
        return [datetime.fromisoformat(line["timestamp"]).timestamp() for line in lines]

    async def freeze(self) -> float:
        """Make it hang; a time at which it did, and what it had sent before had arrived."""
        os.kill(self.pid, signal.SIGSTOP)
        while not self._hangs():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        return time.time()

    def _hangs(self) -> bool:
        threads = Path(f"/proc/{self.pid}/task").iterdir()
        return all((each / "stat").read_text().rpartition(")")[2].split()[0] == "T" for each in threads)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)


def _named(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    pipeline = [
        {**step, "config": {**step["config"], "headers": {PROCESS: name}}} if step["name"] == "http" else step
        for step in config["pipeline"]
    ]
    return {**config, "pipeline": pipeline}
