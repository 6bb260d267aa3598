"""docs/writing-a-step.md is true: its package, installed, is a step like any other."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from mess.demo.ports import free_port
from mess.demo.replica_set import ReplicaSet
from tests.acceptance.commands import mess, running, write
from tests.distribution import install
from tests.receiver import Receiver

DOCS = (Path(__file__).parents[2] / "docs" / "writing-a-step.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCS, re.MULTILINE | re.DOTALL)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the docs' package is installed, for the commands to find."""
    project = tomllib.loads(blocks("toml")[0])["project"]
    folder = tmp_path / "site"
    install(folder, project["name"], project["entry-points"], {"acme_tag.py": blocks("python")[0]}, project["version"])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))
    return folder


def config(folder: Path, **options: Any) -> Path:
    return write(
        folder, {"databases": {"shop": {}}, "pipeline": [{"name": "tag", "config": {"tag": "new"}}], **options}
    )


async def test_validate_knows_its_options(site: Path, tmp_path: Path) -> None:
    done = await mess("validate", "--config", config(tmp_path), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stdout
    wrong = config(tmp_path, pipeline=[{"name": "tag", "config": {"tagg": "new", "tag": "new"}}])
    done = await mess("validate", "--config", wrong, folder=tmp_path)
    assert done.returncode == 2
    assert re.search(r'config.yml:\d+: pipeline\[0\].config.tagg: unknown key; did you mean "tag"\?', done.stderr)


async def test_editors_are_told_of_it(site: Path, tmp_path: Path) -> None:
    done = await mess("schema", folder=tmp_path)
    assert json.loads(done.stdout)["$defs"]["tag"]["properties"]["tag"]["description"] == "What the field `tag` holds."


async def test_its_own_test_passes(site: Path, tmp_path: Path) -> None:
    (tmp_path / "test_acme_tag.py").write_text(blocks("python")[1])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_acme_tag.py"]
    done = subprocess.run(  # noqa: ASYNC221 - nothing else is served meanwhile
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout


async def test_a_relay_runs_it(
    site: Path, tmp_path: Path, replica_set: ReplicaSet, mongo: MongoClient[dict[str, Any]], database: str
) -> None:
    """What it makes of an event is what the next step sends."""
    async with Receiver() as receiver:
        path = config(
            tmp_path,
            name=database,
            mongodb={"url": replica_set.url},
            state={"url": f"sqlite:///{tmp_path}/state.db"},
            databases={database: {}},
            admin={"port": free_port()},
            pipeline=[
                {"name": "tag", "config": {"tag": "new"}},
                {"name": "http", "config": {"endpoint": receiver.url}},
            ],
        )
        async with running(path) as relay:
            await relay.connected()
            mongo[database].orders.insert_one({"_id": 1})
            ((delivered,),) = [request.events for request in await receiver.wait_for(1)]
            assert delivered.body["tag"] == "new"
            assert delivered.body["fullDocument"] == {"_id": 1}
            assert await relay.stop() == 0


async def test_a_broken_package_is_a_plain_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = {"mess.steps": {"tag": "acme_tag:TagConfig"}}
    install(tmp_path / "site", "acme-tag", points, {"acme_tag.py": "import nowhere"})
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    for command in ("validate", "run", "check"):
        done = await mess(command, "--config", config(tmp_path), folder=tmp_path)
        assert done.returncode == 2
        assert 'the step "tag" of the package acme-tag 1.0 cannot be used' in done.stderr
        assert "No module named 'nowhere'" in done.stderr
        assert "Traceback" not in done.stderr
