"""The relay as a process of its own: `python -m mess run`, started, asked, killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from mess.demo.ports import free_port
from tests.waiting import until

READY_SECONDS = 30.0
STOP_SECONDS = 20.0


class RelayProcess:
    """A config in a folder, and the process that runs it; it may be started again and again.

    `config` is written as JSON, with an admin port of its own; `files` (name: text) are put beside it. What the process
    says is kept in `relay.log` over all starts. Used as `async with`, it is killed in the end if it still runs.
    `descriptors` are its soft and hard limits on open files, `host` is the address of its admin server.
    """

    def __init__(
        self,
        folder: Path,
        config: Mapping[str, Any],
        files: Mapping[str, str] | None = None,
        descriptors: tuple[int, int] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        self.host = host
        self.port = free_port()
        self._log = folder / "relay.log"
        self.config = folder / "config.json"
        self.write(config)
        for name, text in (files or {}).items():
            (folder / name).write_text(text)
        self.arguments: tuple[str, ...] = ()
        """More of what `mess run` is started with."""
        self.prefix: tuple[str, ...] = ()
        """A program that replaces itself by the command that follows its arguments, as `env` does."""
        self._process: subprocess.Popen[bytes] | None = None
        if descriptors is not None:
            limits = "ulimit -Sn {} && ulimit -Hn {}".format(*descriptors)
            self.prefix = ("sh", "-c", f'{limits} && exec "$@"', "sh")

    def write(self, config: Mapping[str, Any]) -> None:
        """Change its config file."""
        text = json.dumps({**config, "admin": {"host": self.host, "port": self.port}})
        changed = self.config.with_suffix(".new")
        changed.write_text(text)
        changed.rename(self.config)

    async def reload(self, config: Mapping[str, Any] | None = None, timeout: float = READY_SECONDS) -> dict[str, Any]:
        """Send SIGHUP, with another config if there is one; what it reports of that. Raises AssertionError."""
        if config is not None:
            self.write(config)
        before = await self.last_reload()
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + timeout
        while (last := await self.last_reload()) in (before, None):
            assert time.monotonic() < deadline, f"not reloaded within {timeout:g} s\n{self.text[-3000:]}"
            await asyncio.sleep(0.02)
        assert last is not None
        return last

    async def last_reload(self) -> dict[str, Any] | None:
        """What it reports of its last reload."""
        found: dict[str, Any] | None = (await self.get("/status"))[1]["last_reload"]
        return found

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process started last."""
        assert self._process is not None, "not started"
        return self._process

    @property
    def pid(self) -> int:
        """Its id."""
        return self.process.pid

    @property
    def started(self) -> bool:
        """Whether it has ever been."""
        return self._process is not None

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def text(self) -> str:
        """All that it has said."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def logs(self) -> list[dict[str, Any]]:
        """Its log lines, parsed; lines that are none (an error's last words) are left out."""
        return [json.loads(line) for line in self.text.splitlines() if line.startswith("{") and line.endswith("}")]

    @property
    def peak_memory(self) -> float:
        """The most memory it has held (VmHWM), in megabytes of 2**20 bytes."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("the process tells no VmHWM")

    @property
    def open_files(self) -> int:
        """How many files and connections it holds open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def limit(self, name: str) -> tuple[int, int]:
        """A soft and a hard limit of the process (`Max open files`)."""
        for line in Path(f"/proc/{self.pid}/limits").read_text().splitlines():
            if line.startswith(name):
                soft, hard = line.removeprefix(name).split()[:2]
                return int(soft), int(hard)
        raise AssertionError(f"no limit {name}")

    async def start(self, *, ready: bool = True) -> None:
        """Start it; return when it reads MongoDB, whether its endpoint is there or not, or at once."""
        assert not self.running, "it runs already"
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("MESS_", "MONGODB_"))}
        environ.pop("PORT", None)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - starting it takes a millisecond
                [
                    *self.prefix,
                    sys.executable,
                    "-m",
                    "mess",
                    "run",
                    f"--config={self.config}",
                    "--log-format=json",
                    *self.arguments,
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environ,
                cwd=self.config.parent,
            )
        if ready:
            await self.ready(steps=False)

    async def ready(self, timeout: float = READY_SECONDS, *, steps: bool = True) -> None:
        """Return when /readyz says so: with its sinks, or without `steps`, with its streams and state alone.

        Raises AssertionError when it does not in time, or when the process ends.
        """
        deadline = time.monotonic() + timeout
        while True:
            assert self.running, f"ended with {self.process.returncode}:\n{self.text[-3000:]}"
            try:
                status, answer = await self.get("/readyz?sinks=true" if steps else "/readyz")
            except (aiohttp.ClientError, TimeoutError) as error:
                status, answer = 0, repr(error)
            if status == 200:
                return
            assert time.monotonic() < deadline, f"not ready within {timeout:g} s: {answer}\n{self.text[-3000:]}"
            await asyncio.sleep(0.05)

    async def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of one of its admin pages."""
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
            session.get(f"http://{self.host}:{self.port}{path}") as answer,
        ):
            return answer.status, await answer.json()

    async def mess(self, *arguments: str) -> str:
        """What another command says, with the relay's config. Raises AssertionError if it fails."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mess", *arguments, f"--config={self.config}"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self.config.parent,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        return said.decode()

    async def reasons(self) -> list[str]:
        """Why it is not ready, or does not deliver."""
        return (await self.get("/readyz?sinks=true"))[1]["reasons"]

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        """Ask it to stop (SIGTERM)."""
        self.process.send_signal(signal.SIGTERM)

    async def exit_code(self, timeout: float = STOP_SECONDS) -> int:
        """Its exit code, as soon as it has ended."""
        await until(lambda: not self.running, lambda: f"the relay's end\n{self.text[-3000:]}", timeout)
        return self.process.returncode

    async def stop(self, timeout: float = STOP_SECONDS) -> int:
        """Ask it to stop; its exit code."""
        self.terminate()
        return await self.exit_code(timeout)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.running:
            self.kill()
        if error is not None:
            print(self.text[-6000:])  # noqa: T201 - pytest shows it with the failure
