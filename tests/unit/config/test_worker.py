"""Configs whose source is Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mess.capture.kafka.settings import check
from mess.config.load import Loaded, load
from mess.errors import ConfigError

WORKER: dict[str, Any] = {
    "source": {"kafka": {"url": "kafka://localhost:9092", "topics": ["changes"], "group": "webhooks"}},
    "databases": {"shop": {"collections": {"orders": {}}}},
    "pipeline": ["log"],
    "state": {"url": "sqlite:///state.db"},
}


def loaded(folder: Path, config: dict[str, Any]) -> Loaded:
    """The config, from a file."""
    path = folder / "workers.yml"
    path.write_text(yaml.safe_dump(config))
    return load(path, environ={})


def problems(folder: Path, **options: Any) -> str:
    """What is wrong with it with these options."""
    with pytest.raises(ConfigError) as error:
        loaded(folder, {**WORKER, **options})
    return str(error.value)


def test_a_worker_is_valid(tmp_path: Path) -> None:
    assert loaded(tmp_path, WORKER).warnings == ()


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("match", {"a": 1}, "use a filter step"),
        ("exclude", ["password"], "use a field-map step"),
        ("full_document", "required", "on the relay that reads MongoDB"),
        ("backfill", "initial", "on the relay that reads MongoDB"),
        ("show_expanded_events", True, "on the relay that reads MongoDB"),
        ("start", "oldest", "source.kafka.start"),
        ("ha", {"lease": "10s"}, "any number of processes"),
        ("on_history_lost", "backfill", "here it is stop or now"),
    ],
)
def test_what_mongodb_evaluates_is_a_mistake(tmp_path: Path, option: str, value: Any, text: str) -> None:
    found = problems(tmp_path, **{option: value})
    assert option in found
    assert text in found


def test_a_collections_options_are_checked_too(tmp_path: Path) -> None:
    databases = {"shop": {"collections": {"orders": {"match": {"a": 1}}}}}
    assert "databases.shop.collections.orders.match" in problems(tmp_path, databases=databases)


def test_the_state_has_to_be_named(tmp_path: Path) -> None:
    assert "state.url: is missing" in problems(tmp_path, state={})


def test_mongodb_is_not_used(tmp_path: Path) -> None:
    found = loaded(tmp_path, {**WORKER, "mongodb": {"url": "mongodb://localhost/"}})
    assert [str(warning) for warning in found.warnings if "mongodb" in str(warning)]


@pytest.mark.parametrize(
    ("option", "value", "text"),
    [
        ("url", "redis://localhost", "write it like kafka://"),
        ("url", "kafka://", "has no host"),
        ("topics", [], "topics"),
        ("topics", ["^changes"], "patterns are not supported"),
        ("topics", ["a", "a"], "named twice"),
        ("config", {"group.id": "other"}, "group.id cannot be set"),
        ("config", {"heartbeat.interval.ms": 60_000}, "heartbeat.interval.ms cannot be set"),
        ("config", {"enable.partition.eof": True}, "enable.partition.eof cannot be set"),
        ("config", {"isolation.level": "read_uncommitted"}, "isolation.level cannot be set"),
        ("config", {"plugin.library.paths": "x"}, "plugin.library.paths cannot be set"),
        ("config", {"enable.auto.commit": True}, "events could be lost"),
    ],
)
def test_what_a_source_cannot_be(tmp_path: Path, option: str, value: Any, text: str) -> None:
    kafka = {**WORKER["source"]["kafka"], option: value}
    assert text in problems(tmp_path, source={"kafka": kafka})


@pytest.mark.parametrize("setting", [{"max.poll.interval.ms": "long"}, {"default.topic.config": "x"}])
def test_a_setting_that_the_client_does_not_accept_is_a_mistake(tmp_path: Path, setting: dict[str, str]) -> None:
    kafka = {**WORKER["source"]["kafka"], "config": setting}
    found = loaded(tmp_path, {**WORKER, "source": {"kafka": kafka}}).config.source
    assert found is not None
    with pytest.raises(ConfigError, match="does not accept the settings"):
        check(found.kafka, tmp_path)
