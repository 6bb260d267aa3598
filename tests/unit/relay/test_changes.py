"""What a changed config means for a relay that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mess.capture.plan import plan
from mess.config.load import Loaded, load
from mess.relay.build import build_pipelines
from mess.relay.changes import Changes, compare, in_force

HTTP = {"name": "http", "config": {"endpoint": "http://localhost/hook"}}
URL = "mongodb://a,b/?replicaSet=rs0"


class Configs:
    """Writes configs into a folder, and compares them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.divided: set[str] = set()

    def load(self, **options: Any) -> Loaded:
        """A config with these options."""
        path = self.folder / "config.json"
        path.write_text(json.dumps({"mongodb": {"url": URL}, "databases": {"shop": {}}, "pipeline": [HTTP], **options}))
        return load(path, environ={})

    def changes(self, first: dict[str, Any], second: dict[str, Any]) -> Changes:
        """What changes from one to another."""
        old = self.load(**first)
        identities = {name: tuple(step.identity for step in steps) for name, steps in build_pipelines(old).items()}
        new = self.load(**second)
        plans = (plan(old.config), plan(new.config))
        return compare(old, new, plans, identities=identities, divided=self.divided)


@pytest.fixture
def configs(tmp_path: Path) -> Configs:
    return Configs(tmp_path)


def scopes(**collections: Any) -> dict[str, Any]:
    return {"databases": {"shop": {"collections": collections}}}


def test_the_same_config_changes_nothing(configs: Configs) -> None:
    assert configs.changes({}, {}).nothing


@pytest.mark.parametrize(
    ("second", "refused"),
    [
        ({"name": "other"}, ["name"]),
        ({"admin": {"port": 3001}}, ["admin.port"]),
        ({"state": {"url": "sqlite:///other.db"}}, ["state.url"]),
        ({"mongodb": {"url": "mongodb://c/?replicaSet=rs0"}}, ["mongodb.url"]),
        ({"mongodb": {"url": URL, "driver": "motor"}}, ["mongodb.driver"]),
        ({"mongodb": {"url": "mongodb://user:password@a,b/?replicaSet=rs0"}}, []),
        ({"state": {"retention": {"max_count": 5}}}, []),
    ],
)
def test_what_is_refused(configs: Configs, second: dict[str, Any], refused: list[str]) -> None:
    assert list(configs.changes({}, second).refused) == refused


def test_what_takes_effect_later_keeps_its_old_value(configs: Configs) -> None:
    second = {"window": {"max_events": 7}, "gaps": "deliver", "shutdown_grace": "2s", "log": {"level": "debug"}}
    changes = configs.changes({}, second)
    assert changes.later == ("gaps", "window.max_events")
    assert changes.live == ("shutdown_grace", "log.level")
    config = in_force(configs.load().config, configs.load(**second).config, changes.later)
    assert (config.gaps, config.window.max_events, config.shutdown_grace) == ("record", 10_000, 2.0)


@pytest.mark.parametrize(
    ("first", "second", "replaced"),
    [
        ({}, {"pipeline": [{**HTTP, "retry": {"first": "1s"}}]}, ["top level"]),
        ({}, {"pipeline": [HTTP, "log"]}, ["top level"]),
        ({}, {"concurrency": 3}, ["top level"]),
        (
            scopes(a={"pipeline": [HTTP]}, b={"pipeline": ["log"]}),
            scopes(a={"pipeline": [HTTP, "log"]}, b={"pipeline": ["log"]}),
            ["shop.a"],
        ),
        # Events of one collection move from one pipeline to another: neither may overtake the other.
        (scopes(a={"pipeline": ["log"]}, b={}), scopes(a={}, b={}), ["top level"]),
    ],
)
def test_which_pipelines_are_replaced(
    configs: Configs, first: dict[str, Any], second: dict[str, Any], replaced: list[str]
) -> None:
    changes = configs.changes(first, second)
    assert list(changes.replaced) == replaced
    assert changes.streams == ()


def test_a_file_that_a_step_names_is_a_part_of_it(configs: Configs) -> None:
    """A certificate that is renewed under the same name, and the source of a function."""
    (configs.folder / "mine.py").write_text("def step(input, config, context):\n    return input\n")
    options = {"plugins": {"mine": "mine:step"}, "pipeline": ["mine", HTTP]}
    old = configs.load(**options)
    identities = {name: tuple(step.identity for step in steps) for name, steps in build_pipelines(old).items()}
    plans = (plan(old.config), plan(old.config))
    assert compare(old, old.again(lambda path: None), plans, identities=identities, divided=()).nothing
    (configs.folder / "mine.py").write_text("def step(input, config, context):\n    return None\n")
    new = old.again(lambda path: None)
    assert compare(old, new, plans, identities=identities, divided=()).replaced == ("top level",)
    assert new.functions["mine:step"]({}, {}, {}) is None
    assert old.functions["mine:step"]({}, {}, {}) == {}


def test_streams_that_differ_take_their_pipelines_along(configs: Configs) -> None:
    first = {"databases": {"shop": {}, "other": {"pipeline": ["log"]}}}
    second = {"databases": {"shop": {"match": {"operationType": "insert"}}, "other": {"pipeline": ["log"]}}}
    changes = configs.changes(first, second)
    assert (changes.streams, changes.replaced, changes.kept) == (("shop",), ("top level",), ("other",))


def test_a_stream_that_is_divided_is_arranged_with_the_others_that_differ(configs: Configs) -> None:
    configs.divided = {"other"}
    first = {"databases": {"shop": {}, "other": {}}}
    assert configs.changes(first, {**first, "shutdown_grace": "2s"}).streams == ()
    second = {"databases": {"shop": {"operations": ["insert"]}, "other": {}}}
    assert set(configs.changes(first, second).streams) == {"shop", "other"}


def test_another_value_to_order_by_concerns_all_streams(configs: Configs) -> None:
    """Which events are barriers is decided as they are read."""
    first, second = ({"order": {"by": f"fullDocument.{name}"}} for name in ("a", "b"))
    assert configs.changes(first, second).streams == ("shop",)
