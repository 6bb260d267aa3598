"""MESS's commands as a user types them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.acceptance import forked

PATIENCE = 30.0
_PYTHONPATH = os.environ.get("PYTHONPATH")
"""Where a test names another, Python has to look there from its start."""
SETTINGS = ("MONGODB_URL", "MONGO_URL", "PORT")


def environment() -> dict[str, str]:
    """The environment without settings that a user has for a relay of their own."""
    kept = {name: value for name, value in os.environ.items() if name not in SETTINGS and not name.startswith("MESS_")}
    return {**kept, "COLUMNS": "250"}


def command(*arguments: Any) -> list[str]:
    """`mess` with these arguments."""
    return [sys.executable, "-m", "mess", *map(str, arguments)]


async def mess(*arguments: Any, folder: Path, patience: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, without standing in the way of what this process serves meanwhile."""
    texts, env = list(map(str, arguments)), environment()
    if env.get("PYTHONPATH") == _PYTHONPATH:
        return await asyncio.to_thread(forked.run, texts, cwd=folder, env=env, timeout=patience)
    return await asyncio.to_thread(
        subprocess.run,
        command(*texts),
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=patience,
        check=False,
    )


def write(folder: Path, config: dict[str, Any]) -> Path:
    """A config file."""
    path = folder / "config.yml"
    path.write_text(yaml.safe_dump(config))
    return path


class Running:
    """`mess run`, and what it has said so far, as JSON lines."""

    def __init__(self, process: subprocess.Popen[str], output: Path) -> None:
        self.process = process
        self._output = output

    @property
    def text(self) -> str:
        """Everything it said."""
        return self._output.read_text()

    def said(self, event: str) -> list[dict[str, Any]]:
        """The log lines that say `event`."""
        lines = [json.loads(line) for line in self.text.splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if line["event"] == event]

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        """Return as soon as `condition()` is true. Raises AssertionError when it is not in time."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, f"ended before {what}:\n{self.text}"
            assert time.monotonic() < deadline, f"not in time: {what}:\n{self.text}"
            await asyncio.sleep(0.01)

    async def connected(self, times: int = 1) -> None:
        """Return when a stream has connected so many times."""
        await self.until(lambda: len(self.said("stream connected")) >= times, "stream connected")

    async def ended(self) -> int:
        """The exit code, as soon as there is one."""
        return await asyncio.to_thread(self.process.wait, PATIENCE)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and wait for the exit code."""
        self.process.send_signal(number)
        return await self.ended()


@asynccontextmanager
async def running(config: Path, *arguments: Any, environ: Mapping[str, str] | None = None) -> AsyncIterator[Running]:
    """`mess run`, with more environment if given; killed in the end, should it still run."""
    output = config.with_name(f"output-{time.monotonic_ns()}.txt")
    process = _start(config, output, arguments, environ or {})
    try:
        yield Running(process, output)
    finally:
        process.kill()
        process.wait()


def _start(config: Path, output: Path, arguments: Sequence[Any], environ: Mapping[str, str]) -> subprocess.Popen[str]:
    with open(output, "w") as file:
        return subprocess.Popen(
            command("run", "--config", config, "--log-format", "json", *arguments),
            cwd=config.parent,
            env={**environment(), **environ},
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
