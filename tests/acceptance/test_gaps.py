"""`mess gaps` as a user types it."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
import yaml
from bson import Timestamp

from mess.config.load import load
from mess.state import Gap
from mess.stores import store_for
from tests.acceptance.commands import mess, write
from tests.acceptance.conftest import Db

NOW = datetime.now(timezone.utc).replace(microsecond=0)


def skipped(db: Db) -> Gap:
    return Gap(
        stream="",
        since=Timestamp(1_700_000_000, 1),
        until=Timestamp(1_700_000_060, 2),
        reason="answered 422",
        time=NOW,
        namespaces=(f"{db.name}.orders", f"{db.name}.by_day", f"{db.name}.gone"),
        kind="skipped",
        pipeline="top level",
        step="http",
        count=1204,
        first="msg_A",
        last="msg_B",
    )


async def gaps(config: Path, *arguments: Any) -> subprocess.CompletedProcess[str]:
    done = await mess("gaps", *arguments, "--config", config, folder=config.parent)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def changed(config: Path, **options: Any) -> None:
    write(config.parent, {**yaml.safe_load(config.read_text()), **options})


async def recorded(config: Path, *found: Gap) -> None:
    async with store_for(load(config).config) as store:
        await store.record_gaps(found)


async def test_a_gap_is_listed_shown_and_healed(config: Path, db: Db) -> None:
    """Once at a time, for the step that skipped it, with what is left out and what is not repaired."""
    gap = skipped(db)
    await recorded(config, gap)
    db.orders.insert_many([{"_id": n} for n in range(3)])
    db.create_collection("by_day", viewOn="orders", pipeline=[])
    done = await gaps(config, "list")
    assert done.returncode == 0, done.stderr
    for each in (gap.id, "skipped", "http of top level", f"{db.name}.orders", "1,204", "2023-11-14 22:13:20 UTC"):
        assert each in done.stdout
    assert "\\n" not in done.stdout, "each namespace has a line of its own"
    done = await gaps(config, "show", gap.id)
    assert done.returncode == 0, done.stderr
    assert "first event: msg_A" in done.stdout
    done = await gaps(config, "heal", gap.id)
    assert done.returncode == 0, done.stderr
    assert f": {db.name}.orders, about 3 documents" in done.stdout
    assert "- deletions: " in done.stdout
    assert "- anything outside step 'http'" in done.stdout
    assert f"left out: {db.name}.by_day is a view" in done.stderr
    [listed] = json.loads((await gaps(config, "list", "--json")).stdout)
    assert (listed["id"], listed["kind"], listed["count"], listed["state"]) == (gap.id, "skipped", 1204, "healing")
    assert listed["since"] == "2023-11-14T22:13:20+00:00"
    async with store_for(load(config).config) as store:
        [backfill] = await store.backfills()
    assert (backfill.origin, backfill.step, backfill.pipeline) == (gap.id, "http", "top level")
    assert listed["backfills"] == [backfill.id]
    again = await gaps(config, "heal", gap.id)
    assert again.returncode == 2
    assert f"is being sent already, by {backfill.id}" in again.stderr


@pytest.mark.parametrize("config", ["mongodb"], indirect=True)
async def test_a_collection_that_cannot_be_sent_does_not_keep_the_others_of_a_gap_from_being_healed(
    config: Path, db: Db
) -> None:
    """A gap of more than twenty collections is recorded as one of the whole database."""
    others = {"audit": {"pipeline": [{"name": "log"}]}, "closed": {"operations": ["insert"]}}
    changed(config, databases={db.name: {"collections": {"*": {}, **others}}})
    gap = replace(skipped(db), namespaces=(f"{db.name}.*",))
    await recorded(config, gap)
    for name in ("orders", "audit", "closed"):
        db[name].insert_one({"_id": 1})
    done = await gaps(config, "heal", gap.id)
    assert done.returncode == 0, done.stderr
    assert f": {db.name}.orders, about " in done.stdout
    assert f"left out: {db.name}.audit: its pipeline is " in done.stderr
    assert f"left out: {db.name}.closed: its `operations` leave out existing documents" in done.stderr


@pytest.mark.parametrize("config", ["mongodb"], indirect=True)
async def test_what_cannot_be_healed_is_refused_with_the_remedy(config: Path, db: Db) -> None:
    opened = Gap(db.name, Timestamp(5, 1), None, "gone", NOW, (f"{db.name}.*",), open=True)
    gone = replace(skipped(db), namespaces=(f"{db.name}.gone",))
    elsewhere = replace(skipped(db), step="http 2", namespaces=(f"{db.name}.orders",), first="msg_C")
    await recorded(config, opened, gone, elsewhere)
    db.orders.insert_one({"_id": 1})
    for id_, text in (
        ("gap_000000000000", "there is no gap gap_000000000000; `mess gaps list"),
        (opened.id, "is open: its stream is stopped, so documents cannot be merged into it. First: mess checkpoints"),
        (gone.id, "none of its collections exists and is watched"),
        (elsewhere.id, "has no step 'http 2'; there are: 'http'"),
    ):
        done = await gaps(config, "heal", id_)
        assert (done.returncode, done.stdout) == (2, ""), done.stdout
        assert text in done.stderr
