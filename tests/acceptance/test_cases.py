"""`mess test` as a user types it."""

from __future__ import annotations

import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.commands import mess, write

SECRET = "hush-hush-hush"
ORDER: dict[str, Any] = {
    "operationType": "insert",
    "ns": {"db": "shop", "coll": "orders"},
    "documentKey": {"_id": {"$oid": "65f0a1b2c3d4e5f601020304"}},
    "fullDocument": {"total": 120},
}
FUNCTION = """
def gift(input, config, context):
    print("a function prints this")
    return {**input, "gift": input["total"] > 100}
"""


@pytest.fixture
def sink() -> Iterator[socket.socket]:
    """What the http and queue steps would connect to."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        yield server


@pytest.fixture
def config(tmp_path: Path, sink: socket.socket) -> Path:
    """A config with every kind of step."""
    address = f"127.0.0.1:{sink.getsockname()[1]}"
    (tmp_path / "my_gifts.py").write_text(FUNCTION)
    headers = {"Authorization": f"Bearer {SECRET}"}
    pipeline: list[Any] = [
        "log",
        {"name": "filter", "config": {"when": "event.fullDocument.total > 10"}},
        {"name": "field-map", "config": {"fields": {"id": "documentKey._id", "total": "fullDocument.total"}}},
        "gift",
        {"name": "http", "config": {"endpoint": f"http://{address}/{{db}}?key={SECRET}", "headers": headers}},
        {"name": "queue", "config": {"url": f"redis://:{SECRET}@{address}", "format": "cloudevents"}},
    ]
    unreachable = f"mongodb://{address}/?serverSelectionTimeoutMS=100"
    return write(
        tmp_path,
        {
            "mongodb": {"url": unreachable},
            "databases": {"shop": {}},
            "plugins": {"gift": "my_gifts:gift"},
            "pipeline": pipeline,
        },
    )


def case(config: Path, name: str, content: Any) -> Path:
    path = config.parent / "tests" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content) if path.suffix == ".json" else yaml.safe_dump(content))
    return path


async def tested(config: Path, *arguments: Any) -> subprocess.CompletedProcess[str]:
    done = await mess("test", *arguments, "--config", config, folder=config.parent)
    assert "Traceback" not in done.stderr, done.stderr
    assert SECRET not in done.stdout + done.stderr
    return done


async def test_from_the_first_event_to_a_case_that_fails(config: Path, sink: socket.socket) -> None:
    """A case is only events at first; `--update` writes what is sent; a change of the config shows as a difference."""
    small = {**ORDER, "fullDocument": {"total": 1}}
    path = case(config, "orders.yml", {"events": [ORDER, small]})

    done = await tested(config)
    assert done.returncode == 2
    assert f"{path}: has no expect:; `--update` writes what is sent now" in done.stderr

    done = await tested(config, "--update")
    assert (done.returncode, done.stdout) == (0, f"updated  {path}\n1 updated\n")
    sent, dropped = yaml.safe_load(path.read_text())["expect"]
    body = {"id": "65f0a1b2c3d4e5f601020304", "total": 120, "gift": True}
    assert sent["sent"]["http"]["body"] == body
    assert sent["sent"]["queue"]["body"]["data"] == body
    assert sent["sent"]["queue"]["target"] == "shop.orders"
    assert dropped == {"dropped": "filter"}
    assert SECRET not in path.read_text()

    for _ in range(2):
        done = await tested(config)
        assert (done.returncode, done.stdout) == (0, f"passed   {path}\n1 passed\n")
    assert "a function prints this" in done.stderr

    (config.parent / "my_gifts.py").write_text(FUNCTION.replace("> 100", "> 200"))
    other = case(config, "other.json", {"events": [small], "expect": [{"dropped": True}]})
    done = await tested(config)
    assert done.returncode == 1
    assert f"failed   {path}\n  event 1:\n    --- expected\n    +++ actual\n" in done.stdout
    assert '    -          "gift": true,\n    +          "gift": false,\n' in done.stdout
    assert done.stdout.endswith(f"passed   {other}\n1 passed, 1 failed\n")

    done = await tested(config, "--json", path)
    assert done.returncode == 1
    [result] = json.loads(done.stdout)
    assert (result["case"], result["result"]) == (str(path), "failed")
    [difference] = result["differences"]
    assert difference["event"] == 1
    gifts = [difference[name]["sent"]["http"]["body"]["gift"] for name in ("expected", "actual")]
    assert gifts == [True, False]

    with pytest.raises(BlockingIOError):
        sink.accept()


async def test_all_mistakes_in_cases_are_reported_together_and_nothing_runs(config: Path) -> None:
    first = case(config, "a.yml", {"events": [{**ORDER, "ns": {"db": "shops", "coll": "orders"}}]})
    second = case(config, "b.yml", {"events": [ORDER], "expect": [{"sent": {"htpp": {}}}]})
    done = await tested(config)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{first}:2: events[0]: the config has no pipeline for shops.orders" in done.stderr
    assert f"{second}:13: expect[0].sent.htpp: pipeline 'top level' has no step 'htpp'" in done.stderr
    assert 'did you mean "http"?' in done.stderr


async def test_without_cases_it_says_where_they_belong(config: Path) -> None:
    done = await tested(config)
    assert done.returncode == 2
    assert f"{config.parent / 'tests'}: there is no such folder; put cases" in done.stderr
