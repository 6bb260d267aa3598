"""Bad days of the endpoint: what is the endpoint's trouble holds the events back, what is an event's costs only it."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pymongo import MongoClient

from mess.demo.ports import free_port
from tests.fault.conftest import Setting
from tests.fault.load import Ledger, Load
from tests.fault.relay import RelayProcess
from tests.receiver import Answer, Receiver, Request
from tests.waiting import until

HUGE = b"x" * 10_000_000


class Moody(Ledger):
    """Gives every event's first requests the answers of `moods`, in turn; then takes it."""

    def __init__(self, *moods: Answer) -> None:
        super().__init__()
        self._moods = moods
        self._asked: dict[str, int] = defaultdict(int)

    def decide(self, request: Request) -> Answer:
        identity = request.headers["webhook-id"]
        self._asked[identity] += 1
        turn = self._asked[identity] - 1
        return self._moods[turn] if turn < len(self._moods) else self.answer


async def loaded(setting: Setting, ledger: Ledger, relay: RelayProcess, rounds: int) -> Load:
    """Let a load of some rounds arrive through a relay that runs."""
    load = Load(setting.url, setting.database, documents=20, pause=0.01)
    load.start()
    await until(lambda: load.rounds >= rounds, "writes")
    load.finish()
    await until(lambda: ledger.complete(load), f"every change\n{relay.text[-2000:]}", 30)
    ledger.check(load)
    return load


async def test_an_endpoint_that_refuses_connections_for_a_while_loses_nothing(setting: Setting) -> None:
    """Nobody listens for two seconds in the midst of a load: held back, told in /readyz, then delivered in order."""
    ledger = Ledger()
    load = Load(setting.url, setting.database, documents=40, pause=0.03)
    async with Receiver(respond=ledger) as receiver, setting.relay(receiver.url) as relay:
        load.start()
        await until(lambda: len(ledger.changes) > 500, "the first changes")
        await receiver.stop()
        await until(lambda: load.total > len(ledger.changes) + 1500, "a backlog")
        [reason] = await relay.reasons()
        assert "http" in reason
        await receiver.start()
        load.finish()
        await until(lambda: ledger.complete(load), "every change", 30)
        await relay.ready()
    ledger.check(load)
    assert not setting.dead_letters()


@pytest.mark.parametrize(
    "answer",
    [
        Answer(hang=True),
        Answer(delay=2.0),
        Answer(close="instead"),
        Answer(500),
        Answer(503),
        Answer(429),
        Answer(410),
        Answer(301, {"Location": "/elsewhere"}),
        Answer(500, body=HUGE),
        Answer(503, {"Retry-After": "²".encode().decode("latin-1")}),
        Answer(503, {"Retry-After": "Thu, 99 Foo 2026"}),
        Answer(503, {"Retry-After": "-5"}),
    ],
    ids=lambda answer: "-".join(
        filter(
            None,
            [
                str(answer.status),
                "hang" * answer.hang,
                "slow" * bool(answer.delay),
                answer.close,
                "huge" * bool(answer.body),
                *(value.encode("unicode_escape").decode() for value in answer.headers.values()),
            ],
        )
    ),
)
async def test_an_answer_that_is_the_endpoints_trouble_holds_the_events_and_keeps_their_order(
    setting: Setting, answer: Answer
) -> None:
    """Every request is answered so once: no event is lost, none is a dead letter, the order holds."""
    ledger = Moody(answer)
    async with Receiver(respond=ledger) as receiver, setting.relay(receiver.url, {"timeout": "300ms"}) as relay:
        await loaded(setting, ledger, relay, rounds=3)
        await relay.ready()
        assert {request.path for request in receiver.requests} == {"/hook"}, "a redirect was followed"
        assert await relay.stop() == 0
    assert not setting.dead_letters()


async def test_an_endpoint_that_closes_every_connection_gets_each_event_once(setting: Setting) -> None:
    """It answers and then closes without having said so, often just as the connection is used again."""
    ledger = Ledger(Answer(close="after"))
    async with Receiver(respond=ledger) as receiver, setting.relay(receiver.url) as relay:
        await loaded(setting, ledger, relay, rounds=5)
    assert not ledger.duplicates
    assert not setting.dead_letters()


@pytest.mark.parametrize(
    "batch",
    [pytest.param({}, marks=pytest.mark.long, id="single"), pytest.param({"batch": {"max_events": 50}}, id="batch")],
)
async def test_an_endpoint_in_every_trouble_at_once_keeps_the_order(setting: Setting, batch: dict[str, Any]) -> None:
    """Half of all requests fail in a way that chance picks, some after the endpoint has read them, and the relay is
    killed once: no event is lost or given up, and whatever the endpoint read of a document came in order."""
    chance = random.Random()
    troubles = [Answer(500), Answer(503), Answer(429), Answer(hang=True), Answer(close="instead"), Answer(302)]
    read = Ledger()

    class Chaos(Ledger):
        def decide(self, request: Request) -> Answer:
            read.note(request)
            return chance.choice(troubles) if not calm.is_set() and chance.random() < 0.5 else self.answer

    calm = asyncio.Event()
    ledger = Chaos()
    load = Load(setting.url, setting.database, documents=30, pause=0.05)
    retry = {"first": "20ms", "cap": "50ms"}
    async with Receiver(respond=ledger) as receiver:
        relay = setting.relay(receiver.url, {"timeout": "200ms", **batch}, retry=retry)
        async with relay:
            load.start()
            await until(lambda: len(ledger.changes) > 300, "the first changes", 30)
            relay.kill()
            await relay.start(ready=False)
            await until(lambda: len(ledger.changes) > 600, "more changes", 30)
            load.finish()
            calm.set()
            await until(lambda: ledger.complete(load), "every change", 30)
            assert await relay.stop() == 0
    ledger.check(load)
    read.check(load)
    assert not setting.dead_letters()


async def test_answers_of_ten_megabytes_are_successes_and_take_no_memory(setting: Setting) -> None:
    """The status counts; what comes behind it is not kept."""
    ledger = Ledger(Answer(200, body=HUGE))
    async with Receiver(respond=ledger) as receiver, setting.relay(receiver.url) as relay:
        load = await loaded(setting, ledger, relay, rounds=3)
        assert len(ledger.entries) == load.total
        assert relay.peak_memory < 120
        assert await relay.stop() == 0


async def test_retry_after_is_respected(setting: Setting, mongo: MongoClient[dict[str, Any]]) -> None:
    """A 429 that asks for two seconds gets them, although the retry's own pauses are shorter."""
    ledger = Moody(Answer(429, {"Retry-After": "2"}))
    async with Receiver(respond=ledger) as receiver, setting.relay(receiver.url):
        mongo[setting.database].counters.insert_one({"_id": 1, "n": 0})
        first, second = (await receiver.wait_for(2))[:2]
        assert 1.9 < second.time - first.time < 3.5
    assert not setting.dead_letters()


@pytest.mark.parametrize("batch", [None, {"max_events": 50}], ids=["single", "batch"])
async def test_a_refused_event_becomes_a_dead_letter_and_the_others_go_on(setting: Setting, batch: Any) -> None:
    """A 400 for one document's events only: they lie in the dead letters, all others arrive in order."""

    class Picky(Ledger):
        def decide(self, request: Request) -> Answer:
            refused = any(event.body["documentKey"]["_id"] == 7 for event in request.events)
            return Answer(400, body=b"no sevens") if refused else self.answer

    ledger = Picky()
    load = Load(setting.url, setting.database, documents=20, pause=0.01)
    async with (
        Receiver(respond=ledger) as receiver,
        setting.relay(receiver.url, {"batch": batch} if batch else {}) as relay,
    ):
        load.start()
        await until(lambda: load.rounds >= 6, "writes")
        load.finish()
        await until(lambda: not load.running and len(ledger.changes) == load.total - load.rounds, "all but sevens")
        await until(lambda: len(setting.dead_letters()) == load.rounds, "the dead letters")
        assert await relay.stop() == 0
    assert {entry.key for entry in ledger.entries} == set(range(20)) - {7}
    letters = setting.dead_letters()
    assert {letter["key"]["_id"] for letter in letters} == {7}
    ledger.check(load, [letter["id"] for letter in letters])


async def trouble(relay: RelayProcess) -> None:
    """Return when the relay says that it is not ready."""
    deadline = time.monotonic() + 10
    while not await relay.reasons():
        assert time.monotonic() < deadline, "it stays ready"
        await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def rude(say: Any, port: int) -> AsyncIterator[str]:
    """A server that calls `say(reader, writer)` for each connection, in place of speaking HTTP."""
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await say(reader, writer)
        writer.transport.abort()
        tasks.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", port)
    try:
        yield f"http://127.0.0.1:{port}/hook"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _close_at_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    return


async def _garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1000)
    writer.write(b"\x16\x03\x01\x00\xff 220 smtp.example.com ESMTP\r\n\r\n\x00\x00")
    await writer.drain()


async def _endless_header(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1000)
    writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000)
    await writer.drain()


async def _wrong_length(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1000)
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n")
    await writer.drain()


async def _trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1000)
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.1)


@pytest.mark.parametrize("say", [_close_at_once, _garbage, _endless_header, _wrong_length, _trickle])
async def test_an_endpoint_that_speaks_no_http_holds_the_events_until_it_does(setting: Setting, say: Any) -> None:
    """Not ready meanwhile, and nothing is given up; when a webhook answers at the same place, all arrives in order."""
    port = free_port()
    ledger = Ledger()
    load = Load(setting.url, setting.database, documents=20, pause=0.01)
    receiver = Receiver(respond=ledger)
    receiver.port = port
    async with setting.relay(f"http://127.0.0.1:{port}/hook", {"timeout": "500ms"}) as relay:
        async with rude(say, port):
            load.start()
            await until(lambda: load.rounds >= 3, "writes")
            load.finish()
            await trouble(relay)
            await asyncio.sleep(0.5)
        async with receiver:
            await until(lambda: ledger.complete(load), "every change", 30)
            assert await relay.stop() == 0
    ledger.check(load)
    assert not setting.dead_letters()


async def test_a_body_that_trickles_behind_a_success_is_still_a_success(
    setting: Setting, mongo: MongoClient[dict[str, Any]]
) -> None:
    """The status is what counts; the relay waits for the rest no longer than the timeout, and delivers once."""
    requests = 0

    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await reader.readuntil(b"\r\n\r\n")
        requests += 1
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while True:
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with rude(say, free_port()) as url, setting.relay(url, {"timeout": "500ms"}) as relay:
        mongo[setting.database].counters.insert_many([{"_id": key} for key in range(10)])
        deadline = time.monotonic() + 15
        while (await relay.get("/count"))[1]["changed"] < 10:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
    assert requests == 10


async def test_memory_stays_bounded_while_the_endpoint_is_down_before_a_large_backlog(
    setting: Setting, mongo: MongoClient[dict[str, Any]]
) -> None:
    """100,000 events wait and nobody listens: the relay holds what its window may hold, not more."""
    relay = setting.relay(f"http://127.0.0.1:{free_port()}/hook")
    collection = mongo[setting.database].events
    async with relay:
        for start in range(0, 100_000, 10_000):
            rows = [{"_id": start + index, "text": "x" * 200, "n": index} for index in range(10_000)]
            await asyncio.to_thread(collection.insert_many, rows, ordered=False)
        await trouble(relay)
        held: list[int] = []
        while len(held) < 2 or held[-1] != held[-2]:
            assert len(held) < 20, "it takes in more and more"
            await asyncio.sleep(1)
            held.append((await relay.get("/status"))[1]["streams"][0]["window_events"])
        assert 0 < held[-1] < 20_000
        assert relay.peak_memory < 120
        assert await relay.stop() == 0
