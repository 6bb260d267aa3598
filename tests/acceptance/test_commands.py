"""The commands that look, check and move, as a user types them."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import yaml
from pymongo.database import Database

import mess as package
from mess.demo.replica_set import ReplicaSet
from tests.acceptance.commands import mess, running, write
from tests.integration.history import forget_beginning
from tests.receiver import Answer, Receiver

Db = Database[dict[str, Any]]


def change(config: Path, **options: Any) -> Path:
    return write(config.parent, {**yaml.safe_load(config.read_text()), **options})


async def test_the_version(tmp_path: Path) -> None:
    done = await mess("--version", folder=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, f"mess {package.__version__}")


async def test_what_init_writes_is_valid_and_is_not_overwritten(tmp_path: Path) -> None:
    done = await mess("init", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    path = tmp_path / "config/config.yml"
    written = path.read_text()
    assert "#" in written
    valid = await mess("validate", folder=tmp_path)
    assert valid.returncode == 0, valid.stderr
    assert "valid:" in valid.stdout
    assert "warning" not in valid.stdout
    again = await mess("init", folder=tmp_path)
    assert again.returncode == 2
    assert "--force" in again.stderr
    path.write_text("mine")
    assert (await mess("init", "--force", folder=tmp_path)).returncode == 0
    assert path.read_text() == written


async def test_the_schema_is_what_init_puts_beside_the_config(tmp_path: Path) -> None:
    done = await mess("schema", folder=tmp_path)
    assert done.returncode == 0
    schema = json.loads(done.stdout)
    assert schema["additionalProperties"] is False
    assert {"databases", "pipeline", "mongodb", "changeHook"} <= set(schema["properties"])
    assert (await mess("init", folder=tmp_path)).returncode == 0
    assert json.loads((tmp_path / "config/mess.schema.json").read_text()) == schema


async def test_validate_shows_the_streams_and_warns(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {
            "databases": {"shop": {"match": {"fullDocument.total": {"$gte": 5}}}, "crm": {}},
            "mongodb": {"url": "mongodb://127.0.0.1:1"},
            "pipeline": ["log"],
        },
    )
    done = await mess("validate", "--config", path, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 change streams" in done.stdout
    assert "shop.*" in done.stdout
    assert "crm.*" in done.stdout
    assert "warning:" in done.stdout
    assert "delete" in done.stdout


async def test_check_tells_what_it_finds(tmp_path: Path, config: Path, db: Db) -> None:
    done = await mess("check", "--config", config, folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert all(line.startswith("ok") for line in lines), done.stdout
    assert re.search(r"MongoDB \d+\.\d+\.\d+, replica set rs0", done.stdout)
    assert f"change stream {db.name} opens" in done.stdout
    assert "oplog" in done.stdout


async def test_check_names_what_is_missing_and_how_to_mend_it(tmp_path: Path, config: Path, db: Db) -> None:
    db.create_collection("orders")
    done = await mess("check", "--config", change(config, full_document_before_change="required"), folder=tmp_path)
    assert done.returncode == 3
    assert f"{db.name}.orders keeps no pre- and post-images" in done.stdout
    command = json.loads(re.search(r"runCommand\((.*)\)", done.stdout)[1])  # type: ignore[index]
    db.command(command)
    assert (await mess("check", "--config", config, folder=tmp_path)).returncode == 0


def folder_of_another(config: Path) -> Path:
    """A folder with the config of another relay, which commands take there by default."""
    folder = config.parent / "elsewhere"
    (folder / "config").mkdir(parents=True)
    options = yaml.safe_load(config.read_text())
    (folder / "config" / "config.yml").write_text(yaml.safe_dump({**options, "name": f"{options['name']}-other"}))
    return folder


async def test_checkpoints_are_listed_moved_and_forgotten(
    tmp_path: Path, config: Path, db: Db, receiver: Receiver
) -> None:
    receiver.answer = Answer()

    async def run(*arguments: Any) -> str:
        done = await mess("checkpoints", *arguments, "--config", config, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async with running(config) as relay:
        await relay.connected()
        db.orders.insert_one({"_id": 1})
        await receiver.wait_for_events(1)
        assert await relay.stop() == 0
    assert db.name in await run("list")
    assert "resumes at 20" in await run("set", "10m")
    assert "2026-11-20 10:00:00" in await run("set", "2026-11-20T11:00:00+01:00")
    assert "2026-11-20 10:00:00" in await run("list")
    async with running(config) as relay:
        first, again = await receiver.wait_for(2)
        assert again.events[0].id == first.events[0].id
        assert await relay.stop() == 0
    unknown = await mess("checkpoints", "reset", "--stream", "other", "--config", config, folder=tmp_path)
    assert unknown.returncode == 2
    assert db.name in unknown.stderr
    neither = await mess("checkpoints", "reset", "--config", config, folder=tmp_path)
    assert neither.returncode == 2
    assert "--all" in neither.stderr
    listed = await run("list")
    forgotten = await run("reset", "--all")
    assert db.name not in await run("list")
    # What it prints restores what it removed, though there is no checkpoint any more.
    restore = re.search(r"mess (checkpoints set (\d+:\d+) --stream .*)", forgotten)
    assert restore is not None
    # As it stands there, from another folder, in which there is the config of another relay.
    typed = await mess(*shlex.split(restore[1]), folder=folder_of_another(config))
    assert typed.returncode == 0, typed.stderr
    assert restore[2] in listed
    assert restore[2] in await run("list")


async def test_the_position_of_a_collection_that_is_not_watched_any_more_can_be_restored(
    tmp_path: Path, config: Path, db: Db, receiver: Receiver
) -> None:
    """By what `reset --all` prints; should the collection come back, it continues where it stopped."""
    receiver.answer = Answer()
    options = yaml.safe_load(config.read_text())  # noqa: ASYNC240 - a small file
    only = {**options, "databases": {db.name: {"collections": {"orders": {}}}}}
    async with running(config) as relay:
        await relay.connected()
        assert await relay.stop() == 0
    write(tmp_path, only)
    async with running(config) as relay:
        await relay.connected()
        db.customers.insert_one({"_id": 1})
        db.orders.insert_one({"_id": 2})
        await receiver.wait_for_events(1)
        assert await relay.stop() == 0
    reset = await mess("checkpoints", "reset", "--all", "--config", config, folder=tmp_path)
    undoing = re.findall(r"mess (checkpoints set .*)", reset.stdout)
    assert any("--namespace" in each for each in undoing), reset.stdout
    for each in undoing:
        done = await mess(*shlex.split(each), folder=tmp_path)
        assert done.returncode == 0, done.stderr
    write(tmp_path, options)
    async with running(config) as relay:
        await receiver.wait_for_events(2)
        assert await relay.stop() == 0
    assert {event.body["documentKey"]["_id"] for event in receiver.accepted} == {1, 2}


async def test_setting_a_position_can_be_undone(tmp_path: Path, config: Path, db: Db, receiver: Receiver) -> None:
    """What it prints restores what was there, or that nothing was."""
    receiver.answer = Answer()

    async def run(*arguments: Any) -> str:
        done = await mess("checkpoints", *arguments, "--config", config, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def undo(said: str) -> None:
        undoing = re.search(r"mess checkpoints (.*)", said)
        assert undoing is not None
        await run(*shlex.split(undoing[1].partition(" --config")[0]))

    nothing = await run("list")
    await undo(await run("set", "10m"))
    assert await run("list") == nothing
    async with running(config) as relay:
        await relay.connected()
        assert await relay.stop() == 0
    before = _times(await run("list"))
    for stream in ([], ["--stream", db.name]):
        said = await run("set", "10m", *stream)
        assert _times(await run("list")) != before
        await undo(said)
        assert _times(await run("list")) == before
    assert [f"{each['cluster_time']})" for each in json.loads(await run("list", "--json"))] == before


def _times(listed: str) -> list[str]:
    return re.findall(r"\d+:\d+\)", listed)


async def test_no_position_lies_in_the_future(tmp_path: Path, config: Path, db: Db) -> None:
    """What happens until then would be lost without a word; the server's clock counts, and is asked."""
    before = await mess("checkpoints", "list", "--config", config, folder=tmp_path)
    done = await mess("checkpoints", "set", "2099-01-01", "--config", config, folder=tmp_path)
    assert done.returncode == 2
    assert "is in the future of the MongoDB server" in done.stderr
    assert (await mess("checkpoints", "list", "--config", config, folder=tmp_path)).stdout == before.stdout


async def test_a_position_before_the_oplog_is_warned_of(tmp_path: Path, own_replica_set: ReplicaSet) -> None:
    forget_beginning(own_replica_set)
    options = {"mongodb": {"url": own_replica_set.url}, "databases": {"shop": {}}, "pipeline": ["log"]}
    path = write(tmp_path, options)
    done = await mess("checkpoints", "set", "1d", "--config", path, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "shop: resumes at" in done.stdout
    assert "warning: MongoDB's oplog begins later" in done.stderr
    assert "warning" not in (await mess("checkpoints", "set", "0s", "--config", path, folder=tmp_path)).stderr


async def test_the_positions_of_a_running_relay_are_moved_only_by_force(tmp_path: Path, config: Path, db: Db) -> None:
    """It would write over what the user asked for; with --force, it stops."""
    async with running(config) as relay:
        await relay.connected()
        for command in (["set", "2026-11-20T10:00:00"], ["reset", "--all"]):
            done = await mess("checkpoints", *command, "--config", config, folder=tmp_path)
            assert done.returncode == 5
            assert "is running" in done.stderr
            assert "--force" in done.stderr
        command = ["set", "2026-11-20T10:00:00", "--force"]
        done = await mess("checkpoints", *command, "--config", config, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        db.orders.insert_one({"_id": 1})
        assert await relay.ended() == 6
    listed = await mess("checkpoints", "list", "--config", config, folder=tmp_path)
    assert "2026-11-20 10:00:00" in listed.stdout


async def test_dead_letters_are_listed_and_shown(tmp_path: Path, config: Path, db: Db, receiver: Receiver) -> None:
    async with running(config) as relay:
        await relay.connected()
        db.orders.insert_one({"_id": "bad", "total": 5})
        db.other.insert_one({"_id": "bad, too"})
        await relay.until(lambda: len(relay.said("events given up")) == 2, "two dead letters")
        assert await relay.stop() == 0
    ids = {request.json["documentKey"]["_id"]: request.headers["webhook-id"] for request in receiver.requests}
    listed = await mess("dead-letters", "list", "--config", config, folder=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert all(id_ in listed.stdout for id_ in ids.values())
    assert "422" in listed.stdout
    assert "2 shown of 2" in listed.stdout
    some = await mess("dead-letters", "list", "--namespace", f"{db.name}.orders", "--config", config, folder=tmp_path)
    assert ids["bad"] in some.stdout
    assert "1 shown of 2" in some.stdout
    shown = await mess("dead-letters", "show", ids["bad"], "--config", config, folder=tmp_path)
    letter = json.loads(shown.stdout)
    assert letter["id"] == ids["bad"]
    assert letter["event"]["fullDocument"] == letter["body"]["fullDocument"] == {"_id": "bad", "total": 5}
    assert letter["step"] == "http"
    assert "422" in letter["reason"]
    assert letter["namespace"] == f"{db.name}.orders"
    missing = await mess("dead-letters", "show", "msg_NONE", "--config", config, folder=tmp_path)
    assert missing.returncode == 2
    assert "msg_NONE" in missing.stderr


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for arguments in (["run"], ["validate", "--config", "nowhere.yml"], ["dead-letters", "list"]):
        done = await mess(*arguments, folder=tmp_path)
        assert done.returncode == 2
        assert ".yml" in done.stderr
        assert "Traceback" not in done.stderr


async def test_a_reload_of_workers_says_what_to_do_instead(tmp_path: Path) -> None:
    """Any number of them may run, so none is the one to be asked."""
    kafka = {"url": "kafka://127.0.0.1:1", "topics": ["changes"], "group": "workers"}
    options = {"source": {"kafka": kafka}, "state": {"url": "mongodb://127.0.0.1:1/"}, "databases": {"shop": {}}}
    path = write(tmp_path, {**options, "pipeline": ["log"]})
    done = await mess("reload", "--config", path, folder=tmp_path)
    assert done.returncode == 1
    assert "this relay reads Kafka" in done.stderr
    assert "HUP" in done.stderr
    assert "--watch" in done.stderr
