"""What `mess check` and `mess validate` tell of a config's steps."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from mess.capture.preflight import Finding
from mess.config.load import Loaded, load
from mess.errors import EndpointDown
from mess.event import Event
from mess.relay.build import build_all
from mess.relay.sink_check import Built, endpoints, try_all
from mess.steps.base import Sink


class Endpoint(Sink):
    """Answers a check after `seconds` with `answer`: a text, None, or an error to raise."""

    def __init__(self, answer: str | Exception | None, seconds: float = 0.0, *, opens: bool = True) -> None:
        self._answer = answer
        self._seconds = seconds
        self._opens = opens
        self.closed = 0

    async def open(self) -> None:
        if not self._opens:
            raise OSError("no such device")

    async def check(self) -> str | None:
        await asyncio.sleep(self._seconds)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    async def deliver(self, events: Sequence[Event]) -> None:
        raise AssertionError("a check delivers nothing")

    async def close(self) -> None:
        self.closed += 1


async def tried(*steps: Endpoint, timeout: float = 5.0) -> list[Finding]:
    return await try_all([Built(f"step {number}", step) for number, step in enumerate(steps)], timeout)


async def test_each_endpoint_has_its_line_in_the_configs_order() -> None:
    slow, fast, silent = Endpoint("a answers", 0.05), Endpoint("b answers"), Endpoint(None)
    assert await tried(slow, fast, silent) == [Finding(True, "a answers"), Finding(True, "b answers")]
    assert [step.closed for step in (slow, fast, silent)] == [1, 1, 1]


async def test_a_failure_is_told_with_its_mend_and_the_others_are_tried() -> None:
    down = Endpoint(EndpointDown("connection refused\nstart the broker"))
    found = await tried(down, Endpoint("b answers"))
    refused = Finding(False, "step 0: connection refused", "start the broker", exit_code=8)
    assert found == [refused, Finding(True, "b answers")]
    assert down.closed == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("odd\nsecond line"), "step 0: ValueError: odd"),
        (KeyError("x"), "step 0: KeyError: 'x'"),
        (RuntimeError(), "step 0: RuntimeError"),
        (TimeoutError(), "step 0: TimeoutError"),
    ],
)
async def test_an_unexpected_exception_is_one_line_with_its_type(error: Exception, line: str) -> None:
    assert await tried(Endpoint(error)) == [Finding(False, line, exit_code=8)]


async def test_a_step_that_cannot_be_opened_is_told_and_closed() -> None:
    broken = Endpoint("never asked", opens=False)
    assert await tried(broken) == [Finding(False, "step 0: OSError: no such device", exit_code=8)]
    assert broken.closed == 1


async def test_one_that_hangs_is_given_up_on_and_many_are_tried_at_a_time() -> None:
    began = time.monotonic()
    hanging = [Endpoint("late", 60) for _ in range(8)]
    found = await tried(*hanging, timeout=0.3)
    assert {finding.what for finding in found} == {f"step {n}: no answer within 0.3 s" for n in range(8)}
    assert time.monotonic() - began < 2
    assert all(step.closed == 1 for step in hanging)


async def test_one_finding_is_told_once() -> None:
    """Two steps that differ only in what does not show have the same endpoint."""
    assert await tried(Endpoint("a answers"), Endpoint("a answers")) == [Finding(True, "a answers")]


# Building


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def loaded(databases: dict[str, Any], **options: Any) -> Loaded:
    Path("config.json").write_text(json.dumps({"databases": databases, **options}, indent=1))
    return load("config.json", environ={})


def http(path: str = "", **options: Any) -> dict[str, Any]:
    return {"name": "http", "config": {"endpoint": f"http://localhost:1/{path}", **options}}


def test_every_distinct_step_is_tried_once() -> None:
    steps, problems = build_all(
        loaded(
            {"a": {"pipeline": ["log", http("x")]}, "b": {"collections": {"c": {"pipeline": [http("x"), http("y")]}}}},
            pipeline=[http("z")],
        )
    )
    assert problems == []
    assert [one.about.partition(" ")[0] for one in endpoints(steps, {})] == ["http", "log", "http", "http"]


def test_what_no_namespace_takes_is_not_tried() -> None:
    """A pipeline that a hook stands in for, and the top level's when every collection has its own."""
    Path("hooks.py").write_text("def hook(item, context): pass\n")
    steps, _ = build_all(
        loaded(
            {"a": {"pipeline": ["log"], "changeHook": "hooks:hook"}, "b": {"pipeline": ["log"]}}, pipeline=[http("z")]
        )
    )
    assert [one.about.partition(" ")[0] for one in endpoints(steps, {})] == ["changeHook", "log"]


def test_what_cannot_be_built_is_told_all_at_once_with_its_line() -> None:
    config = loaded(
        {"a": {"pipeline": [http(ca="nowhere.pem")]}, "b": {"pipeline": ["log", http("x", ca="config.json")]}}
    )
    steps, problems = build_all(config)
    lines = Path("config.json").read_text().splitlines()
    assert [problem.path for problem in problems] == [
        "databases.a.pipeline[0].config.ca",
        "databases.b.pipeline[1].config.ca",
    ]
    assert all('"ca"' in lines[(problem.line or 0) - 1] for problem in problems)
    assert all(problem.file == "config.json" for problem in problems)
    assert "nowhere.pem" in problems[0].message
    assert [one.about for one in endpoints(steps, {})] == ["log"]


def test_an_unexpected_exception_while_building_is_a_problem_with_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: Any) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr("mess.steps.log.LogConfig.build", build)
    (problem,) = build_all(loaded({"a": {}}, pipeline=["log"]))[1]
    assert str(problem).endswith("pipeline[0]: the step cannot be built: ZeroDivisionError: oh")
