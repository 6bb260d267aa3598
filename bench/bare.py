"""A bare aiohttp loop: the most that POSTs with aiohttp can reach. It reads nothing from MongoDB.

Run as `python -m bench.bare URL FILE EVENTS`, it POSTs the bodies in FILE, one a line and over again, 16 at a time, on
kept-alive connections. It starts when it is given a line, and prints its peak memory in MB at the end.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import uvloop
from yarl import URL

from bench.process import own_cpu_and_peak

_CONCURRENCY = 16


async def post_all(url: URL, bodies: Iterator[bytes]) -> None:
    """POST each body once."""
    connector = aiohttp.TCPConnector(limit=_CONCURRENCY)
    headers = {"Content-Type": "application/json"}
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:

        async def loop() -> None:
            # All loops take from one iterator, so that none is left with more to do than the others.
            for body in bodies:
                async with session.post(url, data=body) as response:
                    await response.read()

        await asyncio.gather(*(loop() for _ in range(_CONCURRENCY)))


if __name__ == "__main__":
    lines = Path(sys.argv[2]).read_bytes().splitlines()
    sys.stdin.readline()
    uvloop.run(post_all(URL(sys.argv[1]), itertools.islice(itertools.cycle(lines), int(sys.argv[3]))))
    print(own_cpu_and_peak()["peak_mb"])
