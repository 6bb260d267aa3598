"""A hundred clients on the live tail of a relay that drains a backlog: its memory stays bounded, and it goes on."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pymongo.database import Database

from mess.demo.ports import free_port
from tests.acceptance.commands import Running, running
from tests.receiver import Answer, Receiver

Db = Database[dict[str, Any]]
Tail = tuple[asyncio.StreamReader, asyncio.StreamWriter]
EVENTS = 8_000
READERS = 20


def peak(relay: Running) -> int:
    """The largest amount of memory that a relay has used so far, in bytes."""
    lines = Path(f"/proc/{relay.process.pid}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


async def drained(relay: Running, db: Db, receiver: Receiver, *, first: int) -> float:
    """Insert many documents of 4 KB; the seconds until all of them are delivered."""
    seen = len(receiver.requests)
    began = time.monotonic()
    for start in range(first, first + EVENTS, 1000):
        documents = [{"_id": number, "text": "x" * 4000} for number in range(start, start + 1000)]
        await asyncio.to_thread(db.orders.insert_many, documents)
    await relay.until(lambda: len(receiver.requests) >= seen + EVENTS, "all deliveries")
    return time.monotonic() - began


async def connect(url: str) -> Tail:
    """A tail of everything, with bodies. The stream buffers little before it stops reading."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, limit=4096)
    writer.write(f"GET /api/v1/events?bodies=true HTTP/1.1\r\nHost: {parts.netloc}\r\n\r\n".encode())
    assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
    return reader, writer


async def read_all(tail: Tail) -> int:
    """Read until the relay ends the tail; how many events there were."""
    count = 0
    while data := await tail[0].read(1 << 16):
        count += data.count(b"event: change")
    return count


@pytest.mark.long
async def test_a_hundred_tails(config: Path, db: Db, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty of them read, the others do not."""
    monkeypatch.setattr("tests.acceptance.commands.PATIENCE", 120.0)
    receiver.answer = Answer(200)
    port = free_port()
    async with running(config, "--port", port) as relay:
        await relay.connected()
        alone = await drained(relay, db, receiver, first=0)
        before = peak(relay)
        tails = [await connect(f"http://127.0.0.1:{port}") for _ in range(100)]
        readers = [asyncio.create_task(read_all(each)) for each in tails[:READERS]]
        watched = await drained(relay, db, receiver, first=EVENTS)
        grown = peak(relay) - before
        assert await relay.stop() == 0
        counts = await asyncio.gather(*readers)
        for _, writer in tails:
            writer.close()
    told = f"alone {alone:.1f} s, with 100 tails {watched:.1f} s; {grown / 1e6:.0f} MB more; {counts} shown"
    assert all(count > 10 for count in counts), told
    assert grown < 128 * 1024**2, told
    assert watched < 2 * alone + 5, told
