"""Docker and Compose as a user calls them."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from mess.demo.ports import free_port


def docker(*arguments: str, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run `docker`. Raises CalledProcessError."""
    command = ["docker", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=check)


class Project:
    """The Compose file of the repository, with a name, a port and a config folder of the test's own."""

    def __init__(self, file: Path, image: str, folder: Path, *, profile: str | None = None) -> None:
        content: dict[str, Any] = yaml.safe_load(file.read_text())
        mess = content["services"]["mess"]
        self.port = free_port()
        self.config = folder / "config"
        shutil.copytree(file.parent / "config", self.config)
        for service in content["services"].values():
            if service.pop("build", None) is not None:
                service["image"] = image
                service["volumes"] = [f"{self.config}:/app/config:ro", *service["volumes"][1:]]
        mess["ports"] = [f"127.0.0.1:{self.port}:3000"]
        self.settings: dict[str, Any] = mess
        self.services: dict[str, Any] = content["services"]
        self._profile = [] if profile is None else ["--profile", profile]
        self._content = content
        self._file = folder / "docker-compose.yml"
        self._name = f"mess-test-{self.port}"
        self._program = ["docker", "compose"]
        if docker("compose", "version", check=False).returncode != 0:
            self._program = ["docker-compose"]

    def compose(self, *arguments: str) -> str:
        """Run Compose in this project. Raises CalledProcessError."""
        self._file.write_text(yaml.safe_dump(self._content))
        options = ["--file", str(self._file), "--project-name", self._name, *self._profile]
        command = [*self._program, *options, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=True)
        return done.stdout

    def up(self, *arguments: str) -> None:
        """Start what is not running, and wait until the relay is ready."""
        self.compose("up", "--detach", *arguments)
        self.ready()

    def down(self) -> None:
        """Remove everything."""
        self.compose("down", "--volumes", "--timeout", "1")

    def ready(self, within: float = 90) -> float:
        """Wait until the relay is ready; the seconds that it took."""
        began = time.monotonic()
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=2):
                    return time.monotonic() - began
            except (urllib.error.URLError, OSError):
                if time.monotonic() - began > within:
                    raise AssertionError(f"not ready within {within} s:\n{self.log()}") from None
                time.sleep(0.2)

    def container(self) -> str:
        """The id of the relay's container."""
        return self.compose("ps", "-q", "mess").strip()

    def inspect(self, container: str) -> dict[str, Any]:
        """What Docker knows of a container."""
        found: dict[str, Any] = json.loads(docker("inspect", container).stdout)[0]
        return found

    def log(self) -> str:
        """What the relay has written, in the present container."""
        return docker("logs", self.container(), check=False).stdout

    def insert(self, number: int, database: str = "test-db") -> None:
        """Insert a document into the collection `orders`, as docs/docker.md does."""
        self.compose(
            "exec", "-T", "mongo", "mongosh", "--quiet", database, "--eval", f"db.orders.insertOne({{_id: {number}}})"
        )

    def finished(self, count: int, within: float = 60) -> bool:
        """Whether the relay is done with this many events: its sinks have confirmed them."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/count", timeout=5) as answer:
                if json.load(answer)["changed"] == count:
                    return True
            time.sleep(0.2)
        return False

    def delivered(self, number: int, within: float = 20, service: str = "mess") -> bool:
        """Whether a service, in any of its containers, logs the insertion of a document."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            if f'"documentKey":{{"_id":{number}}}' in self.compose("logs", "--no-color", service):
                return True
            time.sleep(0.2)
        return False
