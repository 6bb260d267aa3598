"""What the brokers that tests start have in common: one process, and a folder of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mess.demo.server import Server


class ServerMissing(Exception):
    """A server's program is not installed: make services."""


class BrokerProcess(Server):
    """Runs while it is open, and keeps what it confirmed over `kill` and `start`."""

    def __init__(self, name: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix=f"mess-{name}-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Its url."""

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has said."""
        return Path(self._folder.name, "log").read_text()

    def kill(self) -> None:
        """End it as a crash would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        """Make it hang."""
        os.kill(self.pid, signal.SIGSTOP)
        for thread in Path(f"/proc/{self.pid}/task").iterdir():
            while (thread / "stat").read_text().rpartition(")")[2].split()[0] != "T":
                time.sleep(0.001)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """See `Server.close`."""
        if self._process is not None:
            self.kill()
        self._folder.cleanup()

    def _launch(self, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        with Path(self._folder.name, "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)
        return self._process
