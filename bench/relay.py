"""The relay under test: the real command, `mess run`, as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.process import cpu_seconds, peak_mb, python
from mess.demo.ports import free_port

_READY_SECONDS = 60.0
_STOP_SECONDS = 30.0


class RelayProcess:
    """`mess run` with `config`, in which the admin port and the log's level are set, running while this is open.

    It may be opened again, as the same relay. Raises RuntimeError with the relay's log when it does not do its work.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self._port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="mess-bench-")
        self._path = Path(self._folder.name, "config.json")
        admin: dict[str, Any] = {"host": "127.0.0.1", "port": self._port}
        admin |= config.get("admin", {})
        self._path.write_text(json.dumps({"log": {"level": "warning"}, **config, "admin": admin}))
        self._log = self._path.with_name("log.txt")
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self.process is not None
        return self.process.pid

    @property
    def cpu_seconds(self) -> float:
        """The CPU time it has used."""
        return cpu_seconds(self.pid)

    @property
    def peak_mb(self) -> float:
        """The most memory it has held."""
        return peak_mb(self.pid)

    @property
    def url(self) -> str:
        """Its admin server's URL."""
        return f"http://127.0.0.1:{self._port}"

    def ready(self) -> None:
        """Return when its streams are connected."""
        self._await("readyz")

    def listens(self) -> None:
        """Return when its admin server answers."""
        self._await("healthz")

    def _await(self, page: str) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"{self.url}/{page}", timeout=5).close()
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"the relay is not ready; its log:\n{self._log.read_text()}")

    def command(self, *arguments: str) -> None:
        """Run another command with its config, as `mess backfill start` would be beside it."""
        command = [sys.executable, "-m", "mess", *arguments, "--config", str(self._path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        """End it as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.communicate()

    def remove(self) -> None:
        """Remove its config."""
        self._folder.cleanup()

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
            self.process = python("mess", "run", "--config", str(self._path), output=log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
        if error is None and self.process.returncode:
            code = self.process.returncode
            raise RuntimeError(f"the relay ended with exit code {code}; its log:\n{self._log.read_text()}")


def http_step(url: str, *, batch: bool = False) -> dict[str, Any]:
    """The http step, alone or in batches of 500."""
    options: dict[str, Any] = {"endpoint": url}
    if batch:
        options["batch"] = {"max_events": 500, "max_bytes": "1MiB"}
    return {"name": "http", "config": options}


FIELD_MAP: dict[str, Any] = {
    "name": "field-map",
    "config": {
        "fields": {
            "order": "documentKey._id",
            "operation": "operationType",
            "time": "wallTime",
            "customer": "fullDocument.customer",
            "status": "fullDocument.status",
            "total": "fullDocument.total",
        }
    },
}
"""A field-map as one would write it: six fields of an order."""
