"""What becomes of backfills: begun by the config or by hand, paused, resumed, and where something is in their way."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bson import Binary, Timestamp, encode
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

import mess.app
import mess.capture.existing
from mess.demo.replica_set import ReplicaSet
from mess.errors import Superseded
from mess.relay import running
from mess.relay.positions import resume_at
from mess.stores import store_for
from tests.integration.history import forget_beginning
from tests.integration.oplogs import small_oplog, with_users, write_megabytes
from tests.integration.relay.backfilling import OFTEN, Arrived, Backfills, batched, fill, ticking
from tests.integration.relay.conftest import Lab
from tests.receiver import Answer, Receiver
from tests.waiting import PATIENCE, until


@pytest.fixture
def arrived(receiver: Receiver) -> Arrived:
    """What has arrived at the lab's receiver."""
    return Arrived(receiver)


def chosen(lab: Lab, *names: str, **options: Any) -> dict[str, Any]:
    """A config that watches these collections."""
    return {"databases": {lab.db.name: {"collections": dict.fromkeys(names, options)}}, "checkpoint": OFTEN}


def on_sqlite(lab: Lab, kind: str) -> dict[str, Any]:
    return {"state": {"url": f"sqlite:///{lab.folder}/state.db"}} if kind == "sqlite" else {}


async def test_initial_sends_each_collection_once(lab: Lab, arrived: Arrived) -> None:
    """Only where the config says so; a restart repeats nothing, and a collection that is added gets its own."""
    before = fill(lab, "a") and fill(lab, "b") and fill(lab, "c")
    first: dict[str, Any] = {"collections": {"a": {"backfill": "initial"}, "b": {}}}
    second: dict[str, Any] = {"collections": {"a": {"backfill": "initial"}, "b": {"backfill": "initial"}, "c*": {}}}
    third = {**second, "backfill": "initial"}
    found = Backfills(lab)
    for scope, expected in ((first, {"a"}), (first, {"a"}), (second, {"a"}), (third, {"a"})):
        async with lab.running(databases={lab.db.name: scope}, checkpoint=OFTEN):
            await arrived.all_read(before, "a")
            for each in await found.look():
                await found.reaches(each.id, "done")
        assert {each.namespace.coll for each in await found.look()} == expected
    fill(lab, "d")
    fourth = {"collections": {**second["collections"], "d": {"backfill": "initial"}}}
    async with lab.running(databases={lab.db.name: fourth}, checkpoint=OFTEN):
        await arrived.all_read(before, "d")
    assert Counter(each.body["ns"]["coll"] for each in arrived.events) == {"a": 100, "d": 100}
    assert {each.origin for each in await found.look()} == {"initial"}


async def test_a_crash_before_the_arrangement_is_stored(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, arrived: Arrived
) -> None:
    """The backfill that was added is the one that runs."""
    expected = fill(lab)
    options = chosen(lab, "orders", backfill="initial")
    with monkeypatch.context() as patch:

        async def crash(*arguments: Any) -> None:
            raise RuntimeError("crash")

        patch.setattr(running, "store_arrangement", crash)
        with pytest.raises(RuntimeError):
            async with lab.running(**options):
                pass
    [added] = await Backfills(lab).look()
    async with lab.running(**options):
        await arrived.all_read(expected)
        await Backfills(lab).reaches(added.id, "done")
    assert sorted(arrived.ids()) == sorted(expected)
    assert len(await Backfills(lab).look()) == 1


async def test_what_cannot_be_sent_is_left_out_of_initial(
    lab: Lab, capsys: pytest.CaptureFixture[str], arrived: Arrived
) -> None:
    """With the reason; the others are sent."""
    expected = fill(lab)
    lab.db.create_collection("view", viewOn="orders", pipeline=[])
    lab.db.create_collection("series", timeseries={"timeField": "at"})
    lab.db.create_collection("capped", capped=True, size=4096)
    lab.db.create_collection("empty")
    async with lab.running(databases={lab.db.name: {"backfill": "initial"}}, checkpoint=OFTEN):
        await arrived.all_read(expected)
        found = await Backfills(lab).look()
        for each in found:
            await Backfills(lab).reaches(each.id, "done")
    assert sorted(each.namespace.coll for each in found) == ["empty", "orders"]
    said = capsys.readouterr().out
    for reason in ("is a view, which cannot be watched", "time series", "capped: snapshot reads are refused"):
        assert reason in said


async def test_history_lost_while_it_runs_and_while_it_does_not(
    tmp_path: Path, receiver: Receiver, arrived: Arrived
) -> None:
    """All that is watched comes again, each time, and a restart adds nothing."""
    with small_oplog() as replica_set, MongoClient[dict[str, Any]](replica_set.url, tz_aware=True) as client:
        lab = Lab(replica_set.url, client["shop"], tmp_path, receiver)
        options: dict[str, Any] = {
            **on_sqlite(lab, "sqlite"),
            "on_history_lost": "backfill",
            "window": {"max_events": 40},
            "checkpoint": OFTEN,
            "pipeline": [batched(lab)],
        }
        found = Backfills(lab, **options)
        async with lab.running(**options):
            fill(lab, count=20)
            await receiver.wait_for_events(20)

        async def roll() -> None:
            await asyncio.sleep(1.5)  # cluster times are whole seconds
            oldest = client.local["oplog.rs"].find_one({}, sort=[("$natural", 1)])
            mark = client.admin.command("ping")["operationTime"]
            while oldest is None or oldest["ts"] <= mark:
                await asyncio.to_thread(write_megabytes, client, 2)
                oldest = client.local["oplog.rs"].find_one({}, sort=[("$natural", 1)])

        fill(lab, count=20, first=20)
        await roll()
        async with ticking(lab), lab.running(**options):
            await arrived.all_read(set(range(40)))
            [first] = await found.look()
            assert (await found.reaches(first.id, "done")).origin.startswith("gap_")
        async with lab.running(**options):
            assert len(await found.look()) == 1
            # The sink is down, and the cursor falls off the oplog behind a full window.
            receiver.answer = Answer(503)
            fill(lab, count=2000, first=40, text="x" * 1000)
            await until(lambda: receiver.requests[-1].answer.status == 503, "a refusal")
            await roll()
            receiver.answer = Answer()
            async with ticking(lab):
                await arrived.all_read(set(range(2040)), timeout=40)
        assert all(each.origin.startswith("gap_") for each in await found.look())
        assert len(await found.look()) == 2
        assert len(await lab.gaps(**options)) == 2


async def test_pause_resume_and_cancel_beside_a_running_relay(lab: Lab, arrived: Arrived) -> None:
    """Each takes effect within a second or so; what is in flight is still delivered."""
    lab.receiver.answer = Answer(delay=0.02)
    fill(lab, count=4000)
    found = Backfills(lab)
    async with lab.running(checkpoint=OFTEN):
        id_ = await found.add("orders", rate=400)
        await until(lambda: len(arrived.ids()) > 20, "the first")
        await found.want(id_, "paused")
        paused = await found.reaches(id_, "paused", 3)
        assert "operator" in (paused.progress.reason or "")
        await settled(lab)
        held = len(arrived.ids())
        await asyncio.sleep(1)
        assert len(arrived.ids()) == held
        await found.want(id_, "running")
        await found.reaches(id_, "running", 3)
        await until(lambda: len(arrived.ids()) > held, "more")
        await found.want(id_, "cancelled")
        cancelled = await found.reaches(id_, "cancelled", 3)
        await settled(lab)
        assert len(arrived.ids()) < 4000
        assert len(arrived.ids()) == len(set(arrived.ids()))
        lab.db.orders.insert_one({"_id": "live"})
        await until(lambda: arrived.ids("insert"), "changes go on")
    assert cancelled.progress.ended is not None


async def settled(lab: Lab) -> None:
    """Return when nothing has arrived for a while."""
    before = -1
    while before != len(lab.receiver.requests):
        before = len(lab.receiver.requests)
        await asyncio.sleep(0.5)


async def test_paused_while_the_sink_is_down(lab: Lab, arrived: Arrived) -> None:
    """Its record says that it goes on as soon as it is resumed, and it is not stored again and again meanwhile."""
    lab.receiver.answer = Answer(503)
    expected = fill(lab, count=300)
    found = Backfills(lab)
    async with lab.running(checkpoint=OFTEN):
        id_ = await found.add("orders")
        await lab.receiver.wait_for(1)
        await found.want(id_, "paused")
        paused = await found.reaches(id_, "paused")
        await asyncio.sleep(1.6)
        assert (await found.reaches(id_, "paused")).progress == paused.progress
        await found.want(id_, "running")
        await found.until(id_, lambda each: each.progress.state != "paused", "it is resumed")
        lab.receiver.answer = Answer()
        await arrived.all_read(expected)
        await found.reaches(id_, "done")


async def test_an_old_server_and_resume_after_the_upgrade(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, arrived: Arrived
) -> None:
    """It fails with the reason; `resume` begins where it was."""
    expected = fill(lab)
    found = Backfills(lab)
    async with lab.running(checkpoint=OFTEN):
        with monkeypatch.context() as patch:
            patch.setattr(mess.capture.existing, "_SNAPSHOT_READS", 99)
            id_ = await found.add("orders")
            failed = await found.reaches(id_, "failed")
            assert "older than 5.0" in (failed.progress.reason or "")
        await found.want(id_, "running")
        await arrived.all_read(expected)
        assert (await found.reaches(id_, "done")).progress.documents == 100


async def test_match_step_and_rate(lab: Lab) -> None:
    """Only documents whose event matches, only for that step, behind the transforms before it, no faster than asked."""
    fill(lab, count=60)
    async with Receiver() as other:
        lab.write("def mark(input, config, context):\n    return {**input, 'marked': True}\n", "my_marks.py")
        options: dict[str, Any] = {
            "checkpoint": OFTEN,
            "plugins": {"mark": "my_marks:mark"},
            "pipeline": ["mark", lab.http, {"name": "http", "config": {"endpoint": other.url}}],
        }
        found = Backfills(lab)
        async with lab.running(**options):
            match = json.dumps({"fullDocument.n": {"$gte": 40}})
            started = asyncio.get_running_loop().time()
            id_ = await found.add("orders", match=match, step="http 2", rate=20)
            await other.wait_for_events(20)
            done = await found.reaches(id_, "done")
            took = asyncio.get_running_loop().time() - started
            lab.db.orders.insert_one({"_id": "live"})
            await lab.receiver.wait_for_events(1)
            await other.wait_for_events(21)
    assert [event.body["operationType"] for event in lab.receiver.accepted] == ["insert"]
    sent = [event.body for event in other.accepted if event.body["operationType"] == "read"]
    assert sorted(each["documentKey"]["_id"] for each in sent) == list(range(40, 60))
    assert all(each["marked"] for each in sent)
    assert done.progress.documents == 60
    assert took > 2, "60 documents take 3 s at 20 in a second, less one chunk"


@pytest.mark.parametrize("kind", ["mongodb", "sqlite"])
async def test_a_restart_continues_after_the_last_document_that_is_done(lab: Lab, kind: str, arrived: Arrived) -> None:
    """Also where deliveries were in flight: those come again under the same ids."""
    options = {**on_sqlite(lab, kind), "checkpoint": OFTEN, "pipeline": [batched(lab)]}
    expected = fill(lab, count=3000)
    found = Backfills(lab, **options)
    id_ = ""
    for most in (700, 1800):
        async with ticking(lab), lab.running(**options, shutdown_grace="100ms"):
            id_ = id_ or await found.add("orders")
            await until(partial(arrives, arrived, most), "some")
            lab.receiver.answer = Answer(503)
            await asyncio.sleep(0.3)
        lab.receiver.answer = Answer()
    async with ticking(lab), lab.running(**options):
        await arrived.all_read(expected)
        done = await found.reaches(id_, "done")
    assert done.progress.documents == 3000
    again = [number for number, times in Counter(arrived.ids()).items() if times > 1]
    assert len(again) <= 2 * 2 * 500, "at most what was in flight at each stop"
    assert 0 not in again
    ids = {(event.id, event.body["documentKey"]["_id"]) for event in arrived.events}
    assert len(ids) == 3000


def arrives(arrived: Arrived, more_than: int) -> bool:
    return len(set(arrived.ids())) > more_than


async def test_taken_over_by_another_process(lab: Lab, arrived: Arrived) -> None:
    """It goes on there, after what is done; the older one cannot set it back."""
    options: dict[str, Any] = {"checkpoint": OFTEN, "pipeline": [batched(lab)]}
    expected = fill(lab, count=3000)
    found = Backfills(lab)
    older = lab.relay(**options)
    running = asyncio.create_task(older.run())
    await asyncio.wait_for(older.ready(), PATIENCE)
    id_ = await found.add("orders", rate=1000)
    await until(lambda: len(arrived.ids()) > 500, "some")
    async with lab.running(**options):
        with pytest.raises(Superseded):
            await asyncio.wait_for(running, PATIENCE)
        await arrived.all_read(expected)
        done = await found.reaches(id_, "done")
    assert done.progress.documents == 3000
    assert Counter(arrived.ids())[0] == 1


@pytest.mark.parametrize("what", ["dropped", "renamed", "replaced", "recreated"])
async def test_the_collection_goes_away_meanwhile(lab: Lab, what: str, arrived: Arrived) -> None:
    """That ends its backfill, with the reason; a new one sends what is there then."""
    fill(lab, count=2000)
    fill(lab, "other", count=50, first=5000)
    found = Backfills(lab)
    async with lab.running(checkpoint=OFTEN):
        id_ = await found.add("orders", rate=200)
        await until(lambda: len(arrived.ids()) > 100, "some")
        if what == "renamed":
            lab.db.orders.rename("elsewhere")
        elif what == "replaced":
            lab.db.other.rename("orders", dropTarget=True)
        else:
            lab.db.orders.drop()
        if what == "recreated":
            fill(lab, count=50, first=5000)
        cancelled = await found.reaches(id_, "cancelled")
        assert ("renamed" if what in ("renamed", "replaced") else "dropped") in (cancelled.progress.reason or "")
        assert cancelled.progress.documents < 2000
        if what in ("replaced", "recreated"):
            again = await found.add("orders")
            await arrived.all_read(set(range(5000, 5050)))
            await found.reaches(again, "done")


async def test_a_drop_behind_the_last_document_does_not_undo_it(lab: Lab) -> None:
    lab.receiver.answer = Answer(503)
    fill(lab, count=3)
    found = Backfills(lab)
    async with lab.running(checkpoint=OFTEN) as relay:
        id_ = await found.add("orders")
        await lab.receiver.wait_for(1)
        await until(lambda: [job.read_all for job in relay.backfills.jobs] == [True], "the collection's end")
        lab.db.orders.drop()
        await asyncio.sleep(0.5)
        lab.receiver.answer = Answer()
        done = await found.reaches(id_, "done")
    assert done.progress.documents == 3


async def test_what_has_become_a_view_fails_with_the_reason(lab: Lab, arrived: Arrived) -> None:
    """A name that looks like a glob means only itself."""
    expected = fill(lab, "a*b")
    fill(lab, "aab", count=1)
    lab.db.create_collection("view", viewOn="orders", pipeline=[])
    found = Backfills(lab)
    async with lab.running(checkpoint=OFTEN):
        id_, other, none = await found.add("view"), await found.add("a*b"), await found.add("none")
        assert "does not exist" in ((await found.reaches(none, "cancelled")).progress.reason or "")
        assert "is a view" in ((await found.reaches(id_, "failed")).progress.reason or "")
        await found.reaches(other, "done")
    assert sorted(arrived.ids(collection="a*b")) == sorted(expected)
    assert not arrived.ids(collection="aab")


@pytest.mark.parametrize("match", [None, '{"operationType": "read"}'], ids=["all", "match"])
async def test_a_document_that_cannot_be_decoded_is_a_dead_letter(
    lab: Lab, match: str | None, arrived: Arrived
) -> None:
    """With its namespace and `_id`; the others come."""
    fill(lab, count=3)
    data = encode({"_id": 10, "data": Binary(b"\x03\0\0\0abc", 0)})
    bad = data.replace(b"\x07\0\0\0\0\x03\0\0\0abc", b"\x07\0\0\0\x02\x09\0\0\0abc")
    lab.db.orders.insert_one(RawBSONDocument(bad))
    lab.db.orders.insert_one({"_id": 20})
    found = Backfills(lab)
    async with lab.running(checkpoint=OFTEN):
        id_ = await found.add("orders", match=match)
        await arrived.all_read({0, 1, 2, 20})
        assert (await found.reaches(id_, "done")).progress.documents == 5
        [letter] = await lab.dead_letters()
    assert (letter.namespace.coll, letter.operation, letter.key) == ("orders", "read", {"_id": 10})
    assert "cannot be decoded" in letter.reason


async def test_a_missing_privilege(tmp_path: Path, receiver: Receiver, arrived: Arrived) -> None:
    """It fails with the reason and the role to run; once that is granted, `resume` sends the documents."""
    with with_users(tmp_path) as (node, url), MongoClient[dict[str, Any]](url, tz_aware=True) as client:
        stream = [{"resource": {"db": "shop", "collection": ""}, "actions": ["find", "changeStream"]}]
        client.shop.command("createRole", "mess", privileges=stream, roles=[])
        client.shop.command("createUser", "poor", pwd="secret", roles=["mess"])
        poor = f"mongodb://poor:secret@{node.address}/?replicaSet=rs0&authSource=shop"
        lab = Lab(poor, client["shop"], tmp_path, receiver)
        expected = fill(lab)
        options = {**on_sqlite(lab, "sqlite"), "checkpoint": OFTEN}
        found = Backfills(lab, **options)
        async with lab.running(**options):
            id_ = await found.add("orders")
            failed = await found.reaches(id_, "failed")
            assert "lacks a privilege" in (failed.progress.reason or "")
            assert '"createRole": "mess"' in (failed.progress.reason or "")
            assert f"backfill resume {id_}" in (failed.progress.reason or "")
            client.shop.command("grantRolesToUser", "poor", roles=["read"])
            await found.want(id_, "running")
            # An idle MongoDB may take twenty seconds to show a place.
            client.elsewhere.others.insert_one({})
            await arrived.all_read(expected)
            await found.reaches(id_, "done")


async def test_many_streams_a_full_window_and_several_backfills(lab: Lab, arrived: Arrived) -> None:
    """While the sink is down everything waits; afterwards all documents and all changes come."""
    names = [f"{lab.db.name}-{number}" for number in range(50)]
    client = lab.db.client
    options: dict[str, Any] = {
        "databases": {name: {} for name in names},
        "window": {"max_events": 500},
        "checkpoint": OFTEN,
        "pipeline": [batched(lab)],
    }
    try:
        for name in names[:5]:
            client[name].orders.insert_many([{"_id": number} for number in range(200)])
        lab.receiver.answer = Answer(503)
        async with lab.running(**options):
            found = Backfills(lab)
            ids = []
            for name in names[:5]:
                ids += [await found.add("orders", database=name) for _ in range(2)]
            for name in names:
                client[name].orders.insert_many([{"_id": f"live {number}"} for number in range(20)])
            await lab.receiver.wait_for(1)
            await asyncio.sleep(2)
            lab.receiver.answer = Answer()
            for id_ in ids:
                await found.reaches(id_, "done", 60)
            await until(lambda: len(arrived.ids("insert")) >= 50 * 20, lambda: f"{len(arrived.ids('insert'))}", 60)
        sent = {(event.body["ns"]["db"], event.body["documentKey"]["_id"], event.id) for event in arrived.events}
        documents = Counter(each[:2] for each in sent if isinstance(each[1], int))
        assert documents == dict.fromkeys([(name, number) for name in names[:5] for number in range(200)], 2)
    finally:
        for name in names:
            client.drop_database(name)


async def test_two_backfills_of_one_collection(lab: Lab, arrived: Arrived) -> None:
    """Each sends every document, under ids of its own."""
    fill(lab, count=700)
    found = Backfills(lab)
    async with lab.running(checkpoint=OFTEN, pipeline=[batched(lab)]):
        for id_ in [await found.add("orders"), await found.add("orders")]:
            assert (await found.reaches(id_, "done")).progress.documents == 700
    assert Counter(arrived.ids()) == dict.fromkeys(range(700), 2)
    assert len({event.id for event in arrived.events}) == 1400


async def test_it_waits_while_its_stream_is_stopped(lab: Lab, arrived: Arrived) -> None:
    """And says so, with what helps; when the stream continues, so does it."""
    with ReplicaSet(1) as forgetful, MongoClient[dict[str, Any]](forgetful.url) as client:
        forget_beginning(forgetful)
        client["gone"].orders.insert_many([{"_id": number} for number in range(10)])
        options: dict[str, Any] = {
            "mongodb": {"url": forgetful.url},
            "databases": {"gone": {}, "here": {}},
            "checkpoint": OFTEN,
        }
        async with lab.running(**options):
            pass
        async with store_for(lab.relay(**options).config) as store:
            await resume_at(store, (), Timestamp(1, 1), stream="gone", force=False)
        found = Backfills(lab, **options)
        id_ = await found.add("orders", database="gone")
        async with lab.running(**options):
            record = await found.until(id_, lambda each: each.progress.reason is not None, "a reason")
            assert record.progress.state == "waiting"
            assert "checkpoints reset" in (record.progress.reason or "")
            now = client.admin.command("ping")["operationTime"]
            async with store_for(lab.relay(**options).config) as store:
                await resume_at(store, (), now, stream="gone", force=False)
            await arrived.all_read(set(range(10)))
            await found.reaches(id_, "done")
