"""Prometheus: its judge of metrics and rules, and a server of one's own on a free port."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mess.demo.ports import free_port
from tests.servers.process import BrokerProcess, ServerMissing

_READY_SECONDS = 20.0


class PrometheusMissing(ServerMissing):
    """There is no prometheus or promtool on PATH: apt install prometheus, or make services."""


def _find(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise PrometheusMissing(PrometheusMissing.__doc__)
    return found


def promtool(*words: str | Path, text: str = "") -> None:
    """Run promtool, with `text` on its standard input. Raises AssertionError with what it finds wrong, and
    PrometheusMissing."""
    done = subprocess.run([_find("promtool"), *map(str, words)], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


class PrometheusServer(BrokerProcess):
    """A Prometheus that scrapes `targets` (`host:port`) in the job `mess` every second, with the rules of a file."""

    def __init__(self, *targets: str, rules: Path) -> None:
        self._program = _find("prometheus")
        super().__init__("prometheus")
        self.port = free_port()
        self._config = Path(self._folder.name, "prometheus.yml")
        every = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        job = {"job_name": "mess", "static_configs": [{"targets": list(targets)}]}
        self._config.write_text(json.dumps({"global": every, "rule_files": [str(rules)], "scrape_configs": [job]}))

    @property
    def url(self) -> str:
        """See `BrokerProcess`."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; return when it answers."""
        process = self._launch(
            [
                self._program,
                f"--config.file={self._config}",
                f"--storage.tsdb.path={self._folder.name}/data",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ]
        )
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/-/ready", timeout=1).close()
            except OSError:
                assert process.poll() is None, self.log
                assert time.monotonic() < deadline, "Prometheus does not answer"
                time.sleep(0.02)
            else:
                return

    def query(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """The labels and values that an expression has now."""
        found = self._get(f"query?query={quote(expression)}")["result"]
        return [(each["metric"], float(each["value"][1])) for each in found]

    def rules(self) -> list[dict[str, Any]]:
        """Its rules, each with its `health` and its `lastError`."""
        return [rule for group in self._get("rules")["groups"] for rule in group["rules"]]

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}", timeout=5) as answer:
            return json.load(answer)["data"]
