"""`mess dead-letters` as a user types it, beside a relay that runs."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from bson import ObjectId, json_util
from pymongo.database import Database

from tests.acceptance.commands import Running, command, environment, mess, running, write
from tests.receiver import Answer, Receiver, Request

Db = Database[dict[str, Any]]


mongodb_only = pytest.mark.parametrize("config", ["mongodb"], indirect=True)


def read(config: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(config.read_text())
    return found


async def letters(config: Path, subcommand: str, *arguments: Any) -> subprocess.CompletedProcess[str]:
    done = await mess("dead-letters", subcommand, *arguments, "--config", config, folder=config.parent)
    assert "Traceback" not in done.stderr, done.stderr
    return done


async def listed(config: Path, *arguments: Any) -> dict[str, Any]:
    done = await letters(config, "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def refused(relay: Running, receiver: Receiver, db: Db, count: int, first: int = 0) -> list[Request]:
    """So many events that the receiver refused and that lie in the dead letters, in the order of their commits."""
    await relay.connected()
    before = len(receiver.requests)
    db.orders.insert_many({"_id": number, "total": 5} for number in range(first, first + count))
    await relay.until(lambda: given_up(relay) >= first + count, "the dead letters")
    return sorted(receiver.requests[before:], key=lambda each: each.json["documentKey"]["_id"])


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def given_up(relay: Running) -> int:
    return sum(line["count"] for line in relay.said("events given up"))


async def test_replay_beside_a_running_relay(config: Path, db: Db, receiver: Receiver) -> None:
    """Listed, shown, and, once the receiver is fixed, delivered with the same id and said to be replayed."""
    async with running(config) as relay:
        first = await refused(relay, receiver, db, 3)
        ids = [request.headers["webhook-id"] for request in first]
        assert all("mess-replay" not in request.headers for request in first)
        found = await listed(config)
        assert (found["total"], found["matching"]) == (3, 3)
        assert {each["id"] for each in found["letters"]} == set(ids)
        shown = json.loads((await letters(config, "show", ids[0])).stdout)
        assert shown["id"] == ids[0]
        assert "422" in shown["reason"]
        assert shown["body"]["fullDocument"] == {"_id": 0, "total": 5}

        receiver.answer = Answer()
        done = await letters(config, "replay", "--all")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "3 of 3 dead letters delivered" in done.stdout
        assert "replaying 3 dead letters" in done.stderr
        again = receiver.requests[len(first) :]
        again.sort(key=lambda request: ids.index(request.headers["webhook-id"]))
        assert [request.headers["webhook-id"] for request in again] == ids
        assert [request.body for request in again] == [request.body for request in first]
        assert {request.headers["mess-replay"] for request in again} == {"true"}
        assert (await listed(config))["total"] == 0

        db.orders.insert_one({"_id": "new"})
        await receiver.wait_for(len(first) + len(again) + 1)
        assert "mess-replay" not in receiver.requests[-1].headers
        assert await relay.stop() == 0


async def test_a_replay_that_fails_again_keeps_its_letter(config: Path, db: Db, receiver: Receiver) -> None:
    """With the new reason, and the attempt beside the earlier ones."""
    async with running(config) as relay:
        await refused(relay, receiver, db, 2)
        before = {each["id"]: each for each in (await listed(config))["letters"]}
        receiver.respond = lambda request: (
            Answer(400, body=b"still no") if request.json["documentKey"]["_id"] else Answer()
        )
        done = await letters(config, "replay", "--reason", "422")
        assert done.returncode == 1
        assert "1 of 2 dead letters delivered" in done.stdout
        assert "1 failed again" in done.stdout
        assert "still no" in done.stdout
        [left] = (await listed(config))["letters"]
        assert left["key"] == {"_id": 1}
        assert "400" in left["reason"]
        assert left["attempts"] == 2
        assert left["time"] == before[left["id"]]["time"]
        shown = json.loads((await letters(config, "show", left["id"])).stdout)
        latest = shown["history"][-1]
        assert "400" in latest["reason"]
        assert latest["error"] == "Refused"
        assert latest["time"] > shown["time"]
        assert await relay.stop() == 0


async def test_an_endpoint_that_is_down_ends_the_replay(config: Path, db: Db, receiver: Receiver) -> None:
    """Nothing changes, and the user is told how many are left."""
    async with running(config) as relay:
        await refused(relay, receiver, db, 3)
        assert await relay.stop() == 0
    before = await listed(config)
    receiver.play([Answer()])
    receiver.answer = Answer(503)
    done = await letters(config, "replay", "--all")
    assert done.returncode == 1
    assert "1 of 3 dead letters delivered" in done.stdout
    assert "the sink is down" in done.stdout
    assert "2 left" in done.stdout
    after = await listed(config)
    [delivered] = receiver.accepted
    assert after["letters"] == [each for each in before["letters"] if each["id"] != delivered.id]
    await receiver.stop()
    nobody = await letters(config, "replay", "--all")
    assert nobody.returncode == 1
    assert "0 of 2 dead letters delivered" in nobody.stdout


async def test_discarding(config: Path, db: Db, receiver: Receiver) -> None:
    """Only what was asked for, only when it was meant, and with word of how many."""
    async with running(config) as relay:
        first = await refused(relay, receiver, db, 3)
        ids = [request.headers["webhook-id"] for request in first]
        unsaid = await letters(config, "discard")
        assert unsaid.returncode == 2
        assert "--all" in unsaid.stderr
        unasked = await letters(config, "discard", "--all")
        assert unasked.returncode == 2
        assert "--yes" in unasked.stderr
        foretold = await letters(config, "discard", "--all", "--dry-run")
        assert "3 dead letters would be discarded" in foretold.stdout
        unknown = await letters(config, "discard", ids[0], "msg_NONE", "--yes")
        assert unknown.returncode == 2
        assert "msg_NONE" in unknown.stderr
        assert (await listed(config))["total"] == 3
        one = await letters(config, "discard", ids[0], "--yes")
        assert "1 dead letter discarded" in one.stdout
        rest = await letters(config, "discard", "--namespace", f"{db.name}.ord*", "--until", "0s", "--yes")
        assert "2 dead letters discarded" in rest.stdout
        assert (await listed(config))["total"] == 0
        assert await relay.stop() == 0
    assert len(receiver.requests) == 3


async def test_a_pipeline_that_nobody_knows(config: Path, db: Db) -> None:
    """A misspelt name is no pipeline without letters."""
    for arguments in (["list"], ["replay"], ["replay", "--dry-run"], ["discard", "--yes"]):
        done = await letters(config, *arguments, "--pipeline", "top levle")
        assert done.returncode == 2, arguments
        assert "there is no pipeline 'top levle'" in done.stderr
        assert "'top level'" in done.stderr
        assert (await letters(config, *arguments, "--pipeline", "top level")).returncode == 0, arguments


async def test_dry_run_says_what_replay_would_do(config: Path, db: Db, receiver: Receiver) -> None:
    async with running(config) as relay:
        await refused(relay, receiver, db, 2)
        assert await relay.stop() == 0
    assert (await letters(config, "replay")).returncode == 2
    done = await letters(config, "replay", "--all", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "2 dead letters: would continue in pipeline 'top level' at step 'http', with the stored body" in done.stdout
    assert all(each["id"] in done.stdout for each in (await listed(config))["letters"])
    none = await letters(config, "replay", "--dry-run", "--since", "0s")
    assert "no dead letter matches" in none.stdout
    wrong = await letters(config, "replay", "--since", "yesterday")
    assert wrong.returncode == 2
    assert "2h" in wrong.stderr
    assert len(receiver.requests) == 2
    assert (await listed(config))["total"] == 2


async def test_a_pipeline_that_was_moved(config: Path, db: Db, receiver: Receiver) -> None:
    """Its letters go through all steps of the pipeline that their collection has now; validate, check and startup warn
    of them before."""
    async with running(config) as relay:
        await refused(relay, receiver, db, 2)
        assert await relay.stop() == 0
    options = read(config)
    moved = {key: value for key, value in options.items() if key != "pipeline"}
    marked = {"name": "field-map", "config": {"keep": "all", "fields": {"marked": {"value": True}}}}
    write(config.parent, {**moved, "databases": {db.name: {"pipeline": [marked, *options["pipeline"]]}}})
    warning = (
        "2 dead letters belong to the pipeline 'top level', which no event takes any more; `mess dead-letters replay "
        f'--pipeline "top level" --dry-run --config {config}` shows which way they would go'
    )
    assert warning in (await mess("check", "--config", config, folder=config.parent)).stdout
    validated = await mess("validate", "--config", config, folder=config.parent)
    assert (warning in validated.stdout) == ("sqlite" in str(options["state"]))
    assert validated.returncode == 0
    async with running(config) as relay:
        await relay.until(lambda: relay.said("dead letters without a pipeline"), "the warning")
        assert relay.said("dead letters without a pipeline")[0]["problem"] == warning
        assert await relay.stop() == 0

    foretold = await letters(config, "replay", "--pipeline", "top level", "--dry-run")
    assert (
        f"2 dead letters: would go through all steps of pipeline '{db.name}', with the original change (pipeline "
        "'top level' is no longer in the config)"
    ) in foretold.stdout
    assert (await listed(config))["total"] == 2
    receiver.answer = Answer()
    done = await letters(config, "replay", "--pipeline", "top level")
    assert done.returncode == 0, done.stdout
    assert [request.json["marked"] for request in receiver.requests[2:]] == [True, True]
    assert {event.id for event in receiver.received[2:]} == {event.id for event in receiver.received[:2]}
    assert (await listed(config))["total"] == 0
    assert "dead letter" not in (await mess("check", "--config", config, folder=config.parent)).stdout


async def test_a_collection_that_has_no_pipeline_now_keeps_its_letters(
    config: Path, db: Db, receiver: Receiver
) -> None:
    """The reason says which pipelines there are; one of them can be chosen, for all or by id."""
    async with running(config) as relay:
        await refused(relay, receiver, db, 2)
        assert await relay.stop() == 0
    options = read(config)
    moved = {key: value for key, value in options.items() if key != "pipeline"}
    other = {"collections": {"bills": {"pipeline": options["pipeline"]}}}
    write(config.parent, {**moved, "databases": {db.name: other}})
    receiver.answer = Answer()
    for arguments in (["--all"], ["--all", "--dry-run"]):
        done = await letters(config, "replay", *arguments)
        assert done.returncode == (1 if len(arguments) == 1 else 0)
        assert (
            f"pipeline 'top level' is no longer in the config, and {db.name}.orders has none now; choose one with "
            f"--through: '{db.name}.bills'"
        ) in done.stdout
    assert (await listed(config))["total"] == 2
    wrong = await letters(config, "replay", "--all", "--through", "bills")
    assert wrong.returncode == 2
    assert f"there is no pipeline 'bills'; there are: '{db.name}.bills'" in wrong.stderr
    by_key = await letters(config, "replay", "--key", "0", "--pipeline", f"{db.name}.bills")
    assert by_key.returncode == 0, by_key.stdout
    chosen = await letters(config, "replay", "--all", "--through", f"{db.name}.bills")
    assert chosen.returncode == 0, chosen.stdout
    assert [request.json["documentKey"]["_id"] for request in receiver.requests[2:]] == [0, 1]
    assert (await listed(config))["total"] == 0


async def test_exporting(config: Path, db: Db, receiver: Receiver) -> None:
    """Whole letters with every BSON type, oldest change first, to a file or a pipe; they stay."""
    async with running(config) as relay:
        await relay.connected()
        documents = [{"_id": ObjectId(), "long": 2**40, "number": number} for number in range(3)]
        for document in documents:
            db.orders.insert_one(document)
        await relay.until(lambda: given_up(relay) == 3, "the dead letters")
        assert await relay.stop() == 0
    piped = await letters(config, "export")
    exported = [json_util.loads(line) for line in piped.stdout.splitlines()]
    assert [each["event"]["fullDocument"] for each in exported] == documents
    assert "$numberLong" in piped.stdout
    assert "3 dead letters exported" in piped.stderr
    output = config.parent / "letters.jsonl"
    chosen = await letters(config, "export", exported[1]["id"], "--json", "relaxed", "--output", output)
    assert chosen.returncode == 0, chosen.stderr
    assert chosen.stdout == ""
    [one] = map(json.loads, lines(output))
    assert one["body"]["fullDocument"]["number"] == 1
    assert (await listed(config))["total"] == 3


async def test_filters(config: Path, db: Db, receiver: Receiver) -> None:
    """The list says how many match and how many there are."""
    async with running(config) as relay:
        first = await refused(relay, receiver, db, 2)
        assert await relay.stop() == 0
    id_ = first[0].headers["webhook-id"]
    for arguments, count in (
        (["--pipeline", "top level", "--step", "http"], 2),
        (["--namespace", db.name], 2),
        (["--namespace", f"{db.name}.other"], 0),
        (["--since", "1h", "--reason", "NO SUCH"], 2),
        (["--until", "1h"], 0),
        (["--since", "2020-01-01", "--until", "2021-01-01T00:00:00Z"], 0),
        ([id_], 1),
        (["--id", id_], 1),
        (["--key", "1"], 1),
        (["--key", '{"$numberInt": "1"}', "--key", "0"], 2),
        (["--key", '"1"'], 0),
        (["--key", "1", "--namespace", f"{db.name}.other"], 0),
    ):
        assert (await listed(config, *arguments))["matching"] == count, arguments
    text = await letters(config, "list", "--namespace", db.name, "--limit", "1")
    assert "1 shown of 2, 2 matching" in text.stdout
    columns, row, *_ = [line.split() for line in text.stdout.splitlines() if line.strip()]
    assert row[row.index(f"{db.name}.orders") + 1] in ("0", "1")
    assert "_id" in columns


async def test_every_command_chooses_by_key(config: Path, db: Db, receiver: Receiver) -> None:
    """List, show, export, replay and discard alike; a key that no letter has is said."""
    async with running(config) as relay:
        await relay.connected()
        keys: list[Any] = [ObjectId("65f0c0ffee65f0c0ffee65f0"), "7", 7]
        for key in keys:
            db.orders.insert_one({"_id": key})
        await relay.until(lambda: given_up(relay) == 3, "the dead letters")
        assert await relay.stop() == 0
    oid = '{"$oid": "65f0c0ffee65f0c0ffee65f0"}'
    for text in (oid, "65f0c0ffee65f0c0ffee65f0"):
        assert [one["key"] for one in (await listed(config, "--key", text))["letters"]] == [{"_id": str(keys[0])}]
    shown = await letters(config, "show", "--key", '"7"')
    assert json.loads(shown.stdout)["event"]["documentKey"] == {"_id": "7"}
    exported = await letters(config, "export", "--key", oid)
    assert json_util.loads(exported.stdout)["key"] == {"_id": keys[0]}
    receiver.answer = Answer()
    assert "1 of 1 dead letter delivered" in (await letters(config, "replay", "--key", '"7"')).stdout
    assert receiver.requests[-1].json["documentKey"] == {"_id": "7"}
    assert "1 dead letter discarded" in (await letters(config, "discard", "--key", "7", "--yes")).stdout
    assert [one["key"]["_id"] for one in (await listed(config))["letters"]] == [str(keys[0])]
    for subcommand in ("show", "export", "replay"):
        missing = await letters(config, subcommand, "--key", "8")
        assert missing.returncode == 2
        assert "no dead letter of a document with the _id 8" in missing.stderr


@asynccontextmanager
async def replaying(config: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`mess dead-letters replay --all` as a process; killed in the end, should it still run."""
    process = await asyncio.create_subprocess_exec(
        *command("dead-letters", "replay", "--all", "--config", config),
        cwd=config.parent,
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@mongodb_only
async def test_interrupting_a_replay(config: Path, db: Db, receiver: Receiver) -> None:
    """Ctrl-C ends it in order: what was delivered is gone, the rest is there, and the user is told."""
    async with running(config) as relay:
        await refused(relay, receiver, db, 50)
        assert await relay.stop() == 0
    receiver.answer = Answer(delay=0.5)
    async with replaying(config) as process:
        await receiver.wait_for(52, timeout=30)
        process.send_signal(signal.SIGINT)
        output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 1
    delivered = {event.id for event in receiver.accepted}
    assert 0 < len(delivered) < 50
    assert f"{len(delivered)} of 50 dead letters delivered" in output.decode()
    assert f"interrupted; {50 - len(delivered)} left" in output.decode()
    left = (await listed(config))["letters"]
    assert len(left) == 50 - len(delivered)
    assert delivered.isdisjoint(each["id"] for each in left)


async def test_a_replay_that_is_killed_loses_nothing(config: Path, db: Db, receiver: Receiver) -> None:
    """What was delivered before it died is delivered again at the most, with the same id."""
    async with running(config) as relay:
        first = await refused(relay, receiver, db, 5)
        assert await relay.stop() == 0
    receiver.play([Answer(), Answer(), Answer(hang=True)])
    async with replaying(config) as process:
        await receiver.wait_for(8, timeout=30)
        process.kill()
        await process.wait()
    receiver.answer = Answer()
    assert (await letters(config, "replay", "--all")).returncode == 0
    assert {event.id for event in receiver.accepted} == {request.headers["webhook-id"] for request in first}
    assert (await listed(config))["total"] == 0
