"""`mess check` and `mess validate` tell of the steps, each trouble in a line, and never by a stack trace."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from mess.demo.replica_set import ReplicaSet
from tests.acceptance.commands import mess, write
from tests.distribution import install

PROBE = """
import asyncio
from typing import ClassVar, Literal
import mess

class ProbeConfig(mess.StepConfig):
    name: ClassVar[str] = "probe"
    host: str
    does: Literal["answers", "is down", "fails"] = "answers"

    def describe(self):
        return f"probe {self.host}"

    def build(self, context):
        return Probe(self)

class Probe(mess.Sink):
    def __init__(self, config):
        self._config = config

    async def deliver(self, events):
        pass

    async def check(self):
        if self._config.does == "is down":
            raise mess.EndpointDown("refuses connections: probe://user:secret@host is to be started first")
        if self._config.does == "fails":
            raise LookupError("nothing was made for this")
        return f"{self._config.host} answers"
"""


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        tmp_path / "site", "acme-probe", {"mess.steps": {"probe": "acme_probe:ProbeConfig"}}, {"acme_probe.py": PROBE}
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))


def probe(host: str, does: str = "answers") -> dict[str, Any]:
    return {"name": "probe", "config": {"host": host, "does": does}}


async def run(
    name: str, folder: Path, pipeline: list[Any], url: str = "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200"
) -> subprocess.CompletedProcess[str]:
    options = {"mongodb": {"url": url}, "databases": {"shop": {}}, "pipeline": pipeline}
    done = await mess(name, "--config", write(folder, options), folder=folder)
    assert "Traceback" not in done.stdout + done.stderr
    return done


async def test_all_is_well(tmp_path: Path, replica_set: ReplicaSet) -> None:
    done = await run("check", tmp_path, [probe("a"), "log", probe("b"), probe("a")], replica_set.url)
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert all(line.startswith("ok") for line in lines)
    assert lines[-2:] == ["ok  a answers", "ok  b answers"]


async def test_endpoints_that_do_not_answer(tmp_path: Path, replica_set: ReplicaSet) -> None:
    """Each has its line, without secrets; the others are tried; the exit code is their own."""
    done = await run("check", tmp_path, [probe("a", "is down"), probe("b", "fails"), probe("c")], replica_set.url)
    assert done.returncode == 8
    assert done.stdout.splitlines()[-3:] == [
        "no  probe a: refuses connections: probe://***@host is to be started first",
        "no  probe b: LookupError: nothing was made for this",
        "ok  c answers",
    ]


async def test_endpoints_are_tried_although_mongodb_is_away(tmp_path: Path) -> None:
    done = await run("check", tmp_path, [probe("a"), probe("b", "is down")])
    assert done.returncode == 3
    assert [line[:4] for line in done.stdout.splitlines()] == ["no  ", "ok  ", "no  "]


async def test_a_step_that_cannot_be_built_leaves_the_others_to_be_tried(tmp_path: Path) -> None:
    http = {"name": "http", "config": {"endpoint": "http://127.0.0.1:1", "ca": "nowhere.pem"}}
    done = await run("check", tmp_path, [http, probe("a")])
    assert done.returncode == 2
    assert "pipeline[0].config.ca: no certificates can be read" in done.stdout
    assert "ok  a answers" in done.stdout


async def test_validate_tells_what_is_missing_around_a_step(tmp_path: Path) -> None:
    """With file and line, and without connecting to anything."""
    http = {"name": "http", "config": {"endpoint": "http://127.0.0.1:1", "ca": "nowhere.pem"}}
    done = await run("validate", tmp_path, [http, probe("a", "is down")])
    assert done.returncode == 2
    assert "valid" not in done.stdout
    place, _, message = done.stderr.strip().partition(": pipeline[0].config.ca: ")
    line = int(place.rpartition(":")[2])
    assert "nowhere.pem" in (tmp_path / "config.yml").read_text().splitlines()[line - 1]
    assert message.startswith("no certificates can be read from ")


async def test_validate_accepts_an_endpoint_that_is_down(tmp_path: Path) -> None:
    done = await run("validate", tmp_path, [probe("a", "is down")])
    assert done.returncode == 0, done.stderr


async def test_a_template_that_is_none_is_told_in_its_place(tmp_path: Path) -> None:
    step = {"name": "field-map", "config": {"fields": {"title": {"template": "order {id"}}}}
    done = await run("validate", tmp_path, [step])
    assert done.returncode == 2
    assert "pipeline[0].config.fields.title.template: " in done.stderr
    assert "has an unmatched brace" in done.stderr


async def test_validate_tells_of_a_namesake(tmp_path: Path) -> None:
    install(tmp_path / "site", "acme-log", {"mess.steps": {"log": "acme_probe:ProbeConfig"}})
    done = await run("validate", tmp_path, ["log"])
    assert done.returncode == 0
    assert "warning: the log step is MESS's own, not the one of the package acme-log" in done.stdout
