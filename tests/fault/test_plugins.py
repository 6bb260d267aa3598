"""Functions of the user's that misbehave: they cost their own event, never the relay."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import pytest
from pymongo import MongoClient

from tests.fault.conftest import Setting
from tests.fault.load import Ledger
from tests.fault.relay import RelayProcess
from tests.receiver import Receiver
from tests.waiting import until

MODULE = """
import asyncio
import sys
import time


def badly(input, config, context):
    what = input["fullDocument"]["what"]
    if what == "raise":
        raise RuntimeError("no such customer")
    if what == "number":
        return 42
    if what == "list":
        return [input]
    if what == "exit":
        sys.exit(3)
    if what == "interrupt":
        raise KeyboardInterrupt
    if what == "cancel":
        raise asyncio.CancelledError
    if what == "stop":
        raise StopIteration
    if what == "unencodable":
        return {**input, "extra": object()}
    if what == "recursion":
        return badly(input, config, context)
    return input


async def badly_async(input, config, context):
    return badly(input, config, context)


def slow(input, config, context):
    time.sleep(1)
    return input


async def slow_async(input, config, context):
    time.sleep(1)
    return input


def busy(input, config, context):
    until = time.monotonic() + 1
    while time.monotonic() < until:
        pass
    return input


def hang(input, config, context):
    time.sleep(3600)


async def hang_async(input, config, context):
    await asyncio.sleep(3600)
"""


def relay_with(setting: Setting, url: str, function: str, **options: Any) -> RelayProcess:
    """A relay that sends all through `function` first."""
    plugins = {"mine": f"misbehaving:{function}"}
    return setting.relay(url, steps=({"name": "mine"},), files={"misbehaving.py": MODULE}, plugins=plugins, **options)


FAILURES = {
    "raise": "no such customer",
    "number": "returned int",
    "list": "returned list",
    "exit": "SystemExit",
    "interrupt": "KeyboardInterrupt",
    "cancel": "CancelledError",
    "stop": "StopIteration",
    "unencodable": "object",
    "recursion": "RecursionError",
}


@pytest.mark.parametrize("function", ["badly", "badly_async"])
async def test_a_function_that_fails_costs_its_own_event_and_the_relay_goes_on(
    setting: Setting, mongo: MongoClient[dict[str, Any]], function: str
) -> None:
    """Whatever it raises or returns: its event lies in the dead letters with the reason, all others are delivered, and
    the relay stops in order."""
    ledger = Ledger()
    documents = [{"_id": f"{what}-{turn}", "what": what, "n": 0} for turn in range(3) for what in (*FAILURES, "good")]
    async with Receiver(respond=ledger) as receiver, relay_with(setting, receiver.url, function) as relay:
        mongo[setting.database].counters.insert_many(documents)
        await until(lambda: len(ledger.changes) == 3, "the good events")
        await until(lambda: len(setting.dead_letters()) >= 3 * len(FAILURES), "the dead letters", 8)
        mongo[setting.database].counters.insert_one({"_id": "last", "what": "good", "n": 0})
        await until(lambda: ("last", 0) in ledger.changes, "an event after them")
        assert await relay.stop() == 0
    letters = setting.dead_letters()
    assert {letter["key"]["_id"] for letter in letters} == {each["_id"] for each in documents if each["what"] != "good"}
    for letter in letters:
        assert FAILURES[letter["key"]["_id"].partition("-")[0]] in letter["reason"]


@pytest.mark.parametrize("function", ["slow", "slow_async", "busy"])
async def test_the_relay_answers_while_a_function_blocks(
    setting: Setting, mongo: MongoClient[dict[str, Any]], function: str
) -> None:
    """A second of `time.sleep` per event, sync or async, or of computing: /healthz answers within 100 ms all the while,
    and what is slow is delivered, not given up."""
    ledger = Ledger()
    async with Receiver(respond=ledger) as receiver, relay_with(setting, receiver.url, function) as relay:
        async with aiohttp.ClientSession() as session:
            mongo[setting.database].counters.insert_many([{"_id": key, "n": 0} for key in range(3)])
            took = []
            for _ in range(25):
                began = time.perf_counter()
                async with session.get(f"http://127.0.0.1:{relay.port}/healthz") as answer:
                    assert answer.status == 200
                took.append(time.perf_counter() - began)
                await asyncio.sleep(0.05)
            # One may fall victim to a busy machine.
            assert sorted(took)[-2] < 0.1
        await until(lambda: len(ledger.changes) == 3, "the slow events")
        assert await relay.stop() == 0
    assert not setting.dead_letters()


@pytest.mark.parametrize("function", ["hang", "hang_async"])
async def test_a_function_that_hangs_does_not_keep_the_relay_from_stopping(
    setting: Setting, mongo: MongoClient[dict[str, Any]], function: str
) -> None:
    """SIGTERM while it hangs: the relay ends within its grace, and the event comes again after the next start."""
    ledger = Ledger()
    async with Receiver(respond=ledger) as receiver:
        relay = relay_with(setting, receiver.url, function, shutdown_grace="1s")
        async with relay:
            mongo[setting.database].counters.insert_one({"_id": 1, "n": 0})
            deadline = time.monotonic() + 10
            while not (await relay.get("/status"))[1]["streams"][0]["window_events"]:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.02)
            began = time.monotonic()
            assert await relay.stop() == 0
            assert 0.9 < time.monotonic() - began < 3
        async with setting.relay(receiver.url):
            await until(lambda: ledger.changes == {(1, 0)}, "the event")
