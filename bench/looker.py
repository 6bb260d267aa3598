"""Someone who looks at a relay: `python -m bench.looker URL INTERVAL TAILS` asks for its status every INTERVAL seconds
and follows TAILS live tails, until a line arrives on standard input. Prints the status requests' seconds, in JSON."""

from __future__ import annotations

import asyncio
import sys
import time

import aiohttp
import orjson


async def _look(url: str, interval: float, tails: int) -> None:
    seconds: list[float] = []
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        tasks = [group.create_task(_follow(session, url)) for _ in range(tails)]
        if interval:
            tasks.append(group.create_task(_ask(session, url, interval, into=seconds)))
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        for task in tasks:
            task.cancel()
    sys.stdout.buffer.write(orjson.dumps({"seconds": seconds}))


async def _ask(session: aiohttp.ClientSession, url: str, interval: float, *, into: list[float]) -> None:
    while True:
        began = time.perf_counter()
        async with session.get(f"{url}/api/v1/status") as answer:
            await answer.read()
            answer.raise_for_status()
        into.append(time.perf_counter() - began)
        await asyncio.sleep(interval)


async def _follow(session: aiohttp.ClientSession, url: str) -> None:
    async with session.get(f"{url}/api/v1/events", timeout=aiohttp.ClientTimeout(total=None)) as answer:
        answer.raise_for_status()
        async for _ in answer.content.iter_any():
            pass


asyncio.run(_look(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))
