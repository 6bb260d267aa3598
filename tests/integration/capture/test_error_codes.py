"""Whatever error MongoDB answers with, a stream loses nothing, or ends and says why.

The codes are those of MongoDB's change stream specification and of its unified tests
(`source/change-streams` in `mongodb/specifications`), and those that MESS treats in its own way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from bson import Timestamp
from pymongo import MongoClient

from mess.capture.stream import ChangeStream
from mess.demo.replica_set import ReplicaSet
from mess.errors import HistoryLost, NotAReplicaSet, NotPermitted, SourceError
from mess.event import Position
from tests.conftest import servers_needed
from tests.integration.capture.reading import Reader, Watching, watching
from tests.waiting import until

Fault = dict[str, Any]

CHANGES = 40
REPLY_EVENTS = 2
"""Small replies, so that a stream is far from its end when its first one has been read."""
NETWORK_ERROR: Fault = {"closeConnection": True}
# The specification's table. 13388 (StaleConfig) needs more than a code, and only a mongos sends it.
RESUMABLE = {
    "CursorNotFound": 43,
    "HostUnreachable": 6,
    "HostNotFound": 7,
    "NetworkTimeout": 89,
    "ShutdownInProgress": 91,
    "PrimarySteppedDown": 189,
    "ExceededTimeLimit": 262,
    "SocketException": 9001,
    "NotWritablePrimary": 10107,
    "InterruptedAtShutdown": 11600,
    "InterruptedDueToReplStateChange": 11602,
    "NotPrimaryNoSecondaryOk": 13435,
    "NotPrimaryOrSecondary": 13436,
    "StaleShardVersion": 63,
    "StaleEpoch": 150,
    "RetryChangeStream": 234,
    "FailedToSatisfyReadPreference": 133,
}
# A driver's stream ends with these, and its user opens another: MESS is that user.
PASSING = {
    "InternalError": 1,
    "UnknownError": 8,
    "MaxTimeMSExpired": 50,
    "CappedPositionLost": 136,
    "ElectionInProgress": 216,
    "CursorKilled": 237,
    "Interrupted": 11601,
}
FAULTS: dict[str, Fault] = {
    "NetworkError": NETWORK_ERROR,
    **{name: {"errorCode": code} for name, code in {**RESUMABLE, **PASSING}.items()},
}


class Server(NamedTuple):
    """A replica set with changes in it, which can be told to fail."""

    client: MongoClient[dict[str, Any]]
    url: str
    begin: Position
    ids: list[str]
    """The ids of the changes, as a stream gives them that nothing disturbs."""

    @contextmanager
    def failing(self, *commands: str, times: int | None = 1, **fault: Any) -> Iterator[None]:
        """Let the stream's next commands of these kinds fail, or all (None). Raises AssertionError if they were not
        asked for."""
        data = {"failCommands": list(commands), "appName": "mess", **fault}
        mode = "alwaysOn" if times is None else {"times": times}
        point = {"configureFailPoint": "failCommand", "mode": mode, "data": data}
        before = self.client.admin.command(point)["count"]
        try:
            yield
        finally:
            after = self.client.admin.command({"configureFailPoint": "failCommand", "mode": "off"})["count"]
        assert after - before == times if times else after > before


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with servers_needed():
        made = ReplicaSet(1, extra=["--setParameter=enableTestCommands=1"])
    with made as replica_set, MongoClient[dict[str, Any]](replica_set.url) as client:
        begin: Timestamp = client.admin.command("ping")["operationTime"]
        for number in range(CHANGES):
            client.shop.orders.insert_one({"_id": number})
        url = (
            f"{replica_set.url}&heartbeatFrequencyMS=500"  # how soon the driver asks a server again that told it to go
        )
        yield Server(client, url, Position(None, begin), [])


@pytest.fixture
async def watch(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watching]:
    monkeypatch.setattr("mess.capture.stream._PAUSE_FIRST", 0.001)
    async with watching(server.url) as found:
        if not server.ids:
            reader = reading(found, server.begin)
            server.ids.extend([event.id for event in await reader.take(CHANGES)])
            await reader.stream.close()
        yield found


def reading(watch: Watching, position: Position, database: str = "shop", **options: Any) -> Reader:
    [plan] = watch.plans({database: {}})
    return Reader(ChangeStream(watch.client, plan, position, reply_events=REPLY_EVENTS, **options), position)


def ids_of(reader: Reader) -> list[str]:
    return [event.id for event in reader.events]


async def to_end(reader: Reader) -> list[str]:
    try:
        await reader.take(CHANGES)
        return ids_of(reader)
    finally:
        await reader.stream.close()


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize(("command", "times"), [("aggregate", 1), ("getMore", 2)])
async def test_a_stream_that_fails_at_its_beginning_loses_nothing(
    server: Server, watch: Watching, command: str, times: int, fault: Fault
) -> None:
    with server.failing(command, times=times, **fault):
        assert await to_end(reading(watch, server.begin)) == server.ids


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
@pytest.mark.parametrize("commands", [("getMore",), ("getMore", "aggregate")], ids="-".join)
async def test_a_stream_that_fails_on_its_way_loses_nothing(
    server: Server, watch: Watching, commands: tuple[str, ...], fault: Fault
) -> None:
    reader = reading(watch, server.begin)
    await reader.read()
    with server.failing(*commands, times=len(commands), **fault):
        assert await to_end(reader) == server.ids


@pytest.mark.parametrize(
    "code", [59, 73, 115, 6], ids=["CommandNotFound", "InvalidNamespace", "CommandNotSupported", "HostUnreachable"]
)
async def test_an_error_that_stays_is_shown_until_it_ends(
    server: Server, watch: Watching, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it may pass is not known: a server that only emulates MongoDB may be switched to change streams."""
    monkeypatch.setattr("mess.capture.stream._PAUSE_FIRST", 0.05)
    reader = reading(watch, server.begin)
    await reader.read()
    with server.failing("getMore", "aggregate", times=4, errorCode=code):
        rest = asyncio.create_task(to_end(reader))
        await until(lambda: reader.stream.problem is not None, "a problem")
        assert "failCommand" in str(reader.stream.problem)
        assert not reader.stream.connected.is_set()
        assert await rest == server.ids
    assert reader.stream.problem is None


@pytest.mark.parametrize("command", ["aggregate", "getMore"])
@pytest.mark.parametrize(
    ("code", "expected", "message"),
    [
        pytest.param(13, NotPermitted, "lacks a privilege", id="Unauthorized"),
        pytest.param(18, NotPermitted, "refused the user name or password", id="AuthenticationFailed"),
        pytest.param(20, NotAReplicaSet, "--replSet", id="IllegalOperation"),
        pytest.param(40573, NotAReplicaSet, "--replSet", id="Location40573"),
        pytest.param(47, SourceError, "changeStreamPreAndPostImages", id="NoMatchingDocument"),
        pytest.param(2, SourceError, "does not accept this change stream", id="BadValue"),
        pytest.param(9, SourceError, "does not accept this change stream", id="FailedToParse"),
        pytest.param(14, SourceError, "does not accept this change stream", id="TypeMismatch"),
        pytest.param(168, SourceError, "does not accept this change stream", id="InvalidPipelineOperator"),
        pytest.param(17313, SourceError, "does not accept this change stream", id="Location17313"),
        pytest.param(280, SourceError, "does not accept this change stream", id="ChangeStreamFatalError"),
        pytest.param(260, SourceError, "does not accept this change stream", id="InvalidResumeToken"),
        pytest.param(286, HistoryLost, "mess checkpoints reset", id="ChangeStreamHistoryLost"),
        pytest.param(10334, SourceError, "too large", id="BSONObjectTooLarge"),
    ],
)
async def test_an_error_that_no_attempt_ends_stops_the_stream_with_the_reason(
    server: Server, watch: Watching, command: str, code: int, expected: type[SourceError], message: str
) -> None:
    """Of a stream without a resume token: `test_a_refused_token_is_replaced_by_its_time` is about those with one."""
    reader = reading(watch, server.begin)
    with server.failing(command, errorCode=code), pytest.raises(SourceError, match=message) as raised:
        await to_end(reader)
    assert isinstance(raised.value, expected)


@pytest.mark.parametrize("code", [260, 280], ids=["InvalidResumeToken", "ChangeStreamFatalError"])
async def test_a_refused_token_is_replaced_by_its_time(server: Server, watch: Watching, code: int) -> None:
    """That is one more time for the changes of that time, with the same ids."""
    reader = reading(watch, server.begin)
    await reader.read()
    with server.failing("getMore", errorCode=code):
        await reader.until(lambda: len(set(ids_of(reader))) >= CHANGES)
    await reader.stream.close()
    assert list(dict.fromkeys(ids_of(reader))) == server.ids
    assert len(reader.events) <= CHANGES + 1


async def test_a_server_that_does_not_know_start_after_is_read_with_resume_after(
    server: Server, watch: Watching
) -> None:
    with server.failing("aggregate", errorCode=40415):
        assert await to_end(reading(watch, server.begin)) == server.ids


@pytest.mark.parametrize("code", [40324, 40415], ids=["unknown stage", "unknown option"])
async def test_a_server_that_lacks_what_every_stream_needs_stops_it(server: Server, watch: Watching, code: int) -> None:
    message = "does not accept this change stream"
    with server.failing("aggregate", times=None, errorCode=code), pytest.raises(SourceError, match=message):
        await to_end(reading(watch, server.begin))


@pytest.mark.parametrize("command", ["aggregate", "getMore"])
async def test_lost_history_that_a_relay_is_to_pass_over_is_recorded(
    server: Server, watch: Watching, command: str
) -> None:
    reader = reading(watch, server.begin, command, on_history_lost="now")
    with server.failing(command, errorCode=286):
        await reader.until(lambda: bool(reader.lost))
    [lost] = reader.lost
    assert lost.since == server.begin
    server.client[command].orders.insert_one({"_id": "since"})
    assert [event.key for event in await reader.take(1)] == [{"_id": "since"}]
    await reader.stream.close()
