"""Configs that are rearranged from one start to the next, under load: what the checker finds. The long version of this
is `make campaign`."""

from __future__ import annotations

import contextlib
import sqlite3
import uuid
from pathlib import Path
from typing import Any, Literal

import bson
import pytest
from pymongo import MongoClient

from mess.demo.replica_set import ReplicaSet
from tests.campaign.player import Player
from tests.campaign.scenario import Scenario, deploys, scenario
from tests.checker.verdict import Verdict
from tests.fault.conftest import Setting

State = Literal["mongodb", "sqlite"]


async def played(chosen: Scenario, replica_set: ReplicaSet, folder: Path) -> Verdict:
    """What the checker finds; pytest shows what happened with a failure."""
    return await Player(chosen, replica_set, None, folder, print).play()


@pytest.fixture
def prefix() -> str:
    """What begins the names of the databases."""
    return f"p{uuid.uuid4().hex[:8]}-"


@pytest.mark.parametrize(
    ("how", "state"),
    [
        ("stop", "mongodb"),
        ("kill", "sqlite"),
        pytest.param("stop", "sqlite", marks=pytest.mark.long),
        ("reload", "mongodb"),
    ],
)
async def test_collections_that_leave_the_config_and_come_back_miss_nothing(
    replica_set: ReplicaSet, tmp_path: Path, prefix: str, how: str, state: State
) -> None:
    """Of two collections, now one is in the config and now the other: both go on where they were left."""

    def only(coll: str) -> dict[str, Any]:
        return {prefix + "a": {"collections": {coll: {}}}}

    sequence = [only("a"), only("b"), only("a"), only("b"), only("a"), {prefix + "a": {}}]
    verdict = await played(deploys(sequence, how, state, prefix), replica_set, tmp_path)
    verdict.check()
    assert verdict.required > 100


@pytest.mark.parametrize(
    ("how", "state"),
    [("stop", "mongodb"), ("reload", "sqlite"), pytest.param("stop", "sqlite", marks=pytest.mark.long)],
)
async def test_databases_that_are_named_and_matched_by_globs_in_turn_miss_nothing(
    replica_set: ReplicaSet, tmp_path: Path, prefix: str, how: str, state: State
) -> None:
    """Streams of single databases become one of the whole deployment and streams of their own again, with collections
    that have options of their own."""
    own = {"collections": {"a": {"full_document": "off"}, "b*": {}}}
    sequence = [
        {prefix + "a": {}, prefix + "b": own},
        {"*": {}},
        {prefix + "b": {}},
        {prefix + "*": {"collections": {"b": {}}}},
        {prefix + "a": own, prefix + "?": {}},
        {prefix + "*": {}},
    ]
    verdict = await played(deploys(sequence, how, state, prefix), replica_set, tmp_path)
    verdict.check()
    assert verdict.required > 100


@pytest.mark.parametrize("seed", [7, *(pytest.param(seed, marks=pytest.mark.long) for seed in (2, 12))])
async def test_random_sequences_of_configs_miss_nothing(replica_set: ReplicaSet, tmp_path: Path, seed: int) -> None:
    """A few of the campaign's, with `match` and `operations`, drops and renames, on both state stores."""
    chosen = scenario(seed, "configs", sinks="one")
    (await played(chosen, replica_set, tmp_path)).check()


@pytest.mark.parametrize("state", [pytest.param("mongodb", marks=pytest.mark.long), "sqlite"])
async def test_deploys_that_each_add_a_collection_leave_a_small_state(
    setting: Setting, mongo: MongoClient[dict[str, Any]], state: State
) -> None:
    """Each with an option of its own, so that it is read by another stream."""
    options = {"state": {"url": f"sqlite:///{setting.sqlite}"}} if state == "sqlite" else {}
    for count in range(1, 9):
        collections = {f"c{number}": {"full_document": "off"} for number in range(1, count + 1)}
        databases = {setting.database: {"collections": {"base": {}, **collections}}}
        async with setting.relay("http://127.0.0.1:9/hook", databases=databases, **options) as relay:
            assert await relay.stop() == 0
    stored = in_file(setting.sqlite) if state == "sqlite" else in_database(mongo, setting.state)
    assert 0 < stored < 4_000


def in_database(mongo: MongoClient[dict[str, Any]], name: str) -> int:
    """How many bytes of BSON a database holds."""
    found = [document for coll in mongo[name].list_collection_names() for document in mongo[name][coll].find()]
    return sum(len(bson.encode(document)) for document in found)


def in_file(file: Path) -> int:
    """How many characters and bytes the tables of an SQLite file hold."""
    with contextlib.closing(sqlite3.connect(file)) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = [row for table in tables for row in db.execute(f'SELECT * FROM "{table}"')]
    return sum(len(value) if isinstance(value, str | bytes) else 8 for row in rows for value in row)
