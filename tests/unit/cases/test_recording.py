"""Cases from real events, without the command around it."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from bson import DBRef, Decimal128, Int64, ObjectId, Timestamp

from mess.cases.drop import Drops
from mess.cases.events import event_of
from mess.cases.record import Recorder, Sample, extended, file_name
from mess.config.load import Loaded, load
from mess.event import Namespace
from mess.relay.build import build_pipelines
from mess.relay.dry_run import opened
from tests.unit.cases.files import CONFIG

ID = "msg_ZE66VJGVGAOPRJOLGOOGGPX52PTFCDBFVNQDNY2PBLVGSCILJBAQ"


def sample(document: dict[str, Any], coll: str = "orders", operation: str = "insert") -> Sample:
    change = {"_id": {"_data": "82"}, "operationType": operation, "ns": {"db": "shop", "coll": coll}}
    change |= {"documentKey": {"_id": 1}, "fullDocument": document}
    return Sample(ID, namespace=Namespace("shop", coll), operation=operation, change=change)


@pytest.mark.parametrize(
    ("db", "coll", "operation", "name"),
    [
        ("shop", "orders", "insert", "shop.orders-insert"),
        ("shop", "", "dropDatabase", "shop-dropDatabase"),
        (".hidden", "..", "insert", "hidden...-insert"),
        ("../../etc", "passwd\0", "insert", "etc.passwd_-insert"),
        ("-rf", "a b\n\x1b[31m", "insert", "rf.a_b_31m-insert"),
        ("日本", "語", "update", "update"),
        ("d", "c" * 300, "insert", "d." + "c" * 78 + "-insert"),
        ("日", "", "", "event"),
    ],
)
def test_file_names_are_safe_and_say_what_it_is(db: str, coll: str, operation: str, name: str) -> None:
    found = file_name(Sample(ID, namespace=Namespace(db, coll), operation=operation, change={}))
    assert found == f"{name}-sciljbaq.yml"
    assert re.fullmatch(r"[A-Za-z0-9][\w.-]*", found, re.ASCII)


def test_values_keep_their_types() -> None:
    """All that make a difference to a step or a body."""
    document = {
        "long": Int64(5),
        "longer": Int64(2**40),
        "int": 5,
        "float": 5.0,
        "nan": float("inf"),
        "at": datetime(2026, 1, 31, 12, 0, 0, 5000),
        "id": ObjectId("65f0a1b2c3d4e5f601020304"),
        "price": Decimal128("1.10"),
        "ref": DBRef("c", Int64(1)),
        "time": Timestamp(1, 2),
        "bytes": b"\0\xff",
        "nested": [{"x": Int64(1)}, [Int64(2)], None, True, "é\u2028\n"],
    }
    written = yaml.safe_load(
        yaml.safe_dump({"operationType": "insert", "ns": {"db": "d", "coll": "c"}, "x": extended(document)})
    )
    again = event_of(written, 1, config().config).change["x"]
    assert again == document
    assert [type(again[name]) for name in ("long", "longer", "int", "float")] == [Int64, Int64, int, float]
    assert type(again["nested"][0]["x"]) is Int64


def config() -> Loaded:
    Path("config.yml").write_text(CONFIG)
    return load("config.yml", environ={})


def case() -> dict[str, Any]:
    [path] = Path("new/cases").iterdir()
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found


async def recorded(*samples: Sample, drop: str = "fullDocument.none") -> list[tuple[str, str]]:
    loaded = config()
    recorder = Recorder(loaded, build_pipelines(loaded), Path("new/cases"), Drops([drop]))
    async with opened(recorder.every_step()):
        found = [await recorder.record(each) for each in samples]
    return [(each.result, each.reason) for each in found]


async def test_an_event_that_cannot_be_a_case_is_reported_and_the_next_one_recorded() -> None:
    deep: Any = 1
    for _ in range(80):
        deep = [deep]
    told = await recorded(
        sample({"x": deep}),
        sample({"total": 120}, coll="elsewhere"),
        sample({"x": "y" * 2_000_000}),
        sample({"total": 120}),
        sample({"total": 120}),
    )
    assert [result for result, _ in told] == ["failed", "failed", "failed", "recorded", "exists"]
    assert "nested more than 64 levels deep" in told[0][1]
    assert "the config has no pipeline for shop.elsewhere" in told[1][1]
    assert "larger than 1 MiB" in told[2][1]
    [expected] = case()["expect"]
    assert expected["sent"]["http"]["body"] == {"order": 1, "total": 120}


async def test_what_is_expected_is_what_is_sent_without_the_dropped_field() -> None:
    assert await recorded(sample({"total": 120}), drop="fullDocument.total") == [("recorded", "")]
    assert case()["events"][0]["fullDocument"] == {}
    assert "filter: when" in case()["expect"][0]["refused"]
