"""Whatever is in a case file, it is a case or a mistake; and any change that MongoDB may send can become a case."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from bson import json_util
from hypothesis import given
from hypothesis import strategies as st

from mess.cases.case import Case, read
from mess.cases.drop import Drops
from mess.cases.record import Recorded, Recorder, Sample
from mess.cases.run import Result, run_all
from mess.cases.write import update
from mess.config.load import Loaded, load
from mess.errors import ConfigError, Problem
from mess.event import Event
from mess.relay.build import Steps, build_pipelines
from mess.relay.dry_run import opened
from tests.fuzz.profiles import examples
from tests.fuzz.strategies import events

CONFIG = """
databases: {"*": {}}
pipeline:
  - {name: http, config: {endpoint: "https://h/{db}/{documentKey._id|none}", json: canonical}}
  - {name: queue, config: {url: "redis://h", format: debezium}}
  - {name: field-map, config: {fields: {d: fullDocument}}}
  - {name: queue, config: {url: "redis://h", key: "{d}", format: cloudevents}}
"""
NAMES = [
    "events",
    "expect",
    "pipeline",
    "event",
    "id",
    "ns",
    "db",
    "coll",
    "operationType",
    "documentKey",
    "splitEvent",
]
NAMES += ["sent", "after", "dropped", "refused", "http", "field-map", "body", "headers", "$date", "$oid", "$binary"]
NAMES += ["$numberLong", "$numberDouble", "$regularExpression", "$timestamp", "$dbPointer", "$uuid", "$code", "$scope"]


def _inside(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)


scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.dates(), st.datetimes()
)
trees = st.recursive(scalars, _inside, max_leaves=10)
likely = st.fixed_dictionaries(
    {
        "operationType": st.sampled_from(["insert", "update", "delete", "read", "drop", "rename"]) | trees,
        "ns": st.just({"db": "shop", "coll": "orders"}) | trees,
    },
    optional=dict.fromkeys(("_id", "documentKey", "fullDocument", "to", "updateDescription", "clusterTime"), trees),
)
cases = st.fixed_dictionaries(
    {"events": st.lists(likely, min_size=1, max_size=2)}, optional={"expect": trees | st.lists(trees, max_size=2)}
)


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return 1 + max(map(_depth, inner), default=0)


Config = tuple[Loaded, Steps]


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A config, beside which the test works."""
    monkeypatch.chdir(tmp_path)
    Path("config.yml").write_text(CONFIG)
    loaded = load("config.yml", environ={})
    return loaded, build_pipelines(loaded)


def result_of(path: Path, config: Config, *, updating: bool = False) -> Result | list[Problem]:
    """The result of a case; or its problems, which have a text and a place."""
    loaded, steps = config
    case, problems = read(path, loaded, steps, update=updating)
    if not isinstance(case, Case):
        assert problems
        assert all(problem.message and problem.file for problem in problems)
        return problems
    [result] = asyncio.run(run_all([case], steps, loaded.config))
    return result


def passes_after_an_update(path: Path, config: Config) -> None:
    """If it is a case, unless what is sent is deeper than a file may be, which leaves the case as it was."""
    before = path.read_bytes()
    result = result_of(path, config, updating=True)
    if isinstance(result, Result) and not result.passed:
        try:
            update(result.case, result.outcomes)
        except ConfigError:
            assert path.read_bytes() == before
            assert _depth(result.outcomes) > 50
        else:
            again = result_of(path, config)
            assert isinstance(again, Result), again
            assert again.passed, again.differences


@given(content=trees | cases, suffix=st.sampled_from([".yml", ".json"]))
@examples(100)
def test_any_content(content: Any, suffix: str, config: Config) -> None:
    path = Path(f"case{suffix}")
    text = json.dumps(content, default=str) if suffix == ".json" else yaml.safe_dump(content, allow_unicode=True)
    path.write_text(text, encoding="utf-8")
    passes_after_an_update(path, config)


@given(event=events, suffix=st.sampled_from([".yml", ".json"]), mode=st.sampled_from(["canonical", "relaxed"]))
@examples(100)
def test_any_change(event: Event, suffix: str, mode: str, config: Config) -> None:
    options = json_util.CANONICAL_JSON_OPTIONS if mode == "canonical" else json_util.RELAXED_JSON_OPTIONS
    data = json.loads(json_util.dumps(event.change, json_options=options))
    path = Path(f"case{suffix}")
    text = json.dumps(data) if suffix == ".json" else yaml.safe_dump({"events": [data]}, allow_unicode=True)
    path.write_text(text, encoding="utf-8")
    passes_after_an_update(path, config)


@given(event=events)
@examples(100)
def test_any_change_that_is_recorded_passes_and_has_its_types(event: Event, config: Config) -> None:
    loaded, steps = config
    folder = Path(tempfile.mkdtemp(dir="."))
    recorder = Recorder(loaded, steps, folder, Drops([]))
    change = {name: value for name, value in event.change.items() if name != "_id"}
    told = asyncio.run(_recorded(recorder, event))
    if told.result != "recorded":
        assert told.reason
        assert not list(folder.iterdir())
        return
    result = result_of(told.path, config)
    assert isinstance(result, Result), result
    assert result.passed, result.differences
    [(again, _)] = result.case.events
    # As text, since there are many kinds of NaN.
    assert _canonical(again.change) == _canonical(change)


def _canonical(change: dict[str, Any]) -> str:
    return json_util.dumps(change, json_options=json_util.CANONICAL_JSON_OPTIONS)


async def _recorded(recorder: Recorder, event: Event) -> Recorded:
    async with opened(recorder.every_step()):
        return await recorder.record(
            Sample(event.id, namespace=event.namespace, operation=event.operation, change=event.change)
        )
