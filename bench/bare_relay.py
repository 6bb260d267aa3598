"""A bare getMore → POST loop, for comparison of latencies: no order, no retries, no checkpoints.

Run as `python -m bench.bare_relay MONGODB_URL DATABASE ENDPOINT`, it POSTs every change from now on, and prints a line
when it has begun. It ends with its standard input.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import aiohttp
import uvloop
from pymongo import AsyncMongoClient
from yarl import URL

from mess.formats import bson_json


async def relay(url: str, name: str, endpoint: URL) -> None:
    """Read by batches, POST one by one."""
    async with (
        AsyncMongoClient[dict[str, Any]](url, tz_aware=True) as client,
        aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as http,
        client.start_session() as session,
    ):
        database = client[name]
        reply = await database.command(
            {"aggregate": 1, "pipeline": [{"$changeStream": {}}], "cursor": {}}, session=session
        )
        cursor = reply["cursor"]
        print("begun", flush=True)
        collection = cursor["ns"].partition(".")[2]
        while True:
            reply = await database.command(
                {"getMore": cursor["id"], "collection": collection, "maxTimeMS": 1000}, session=session
            )
            for event in reply["cursor"]["nextBatch"]:
                async with http.post(endpoint, data=bson_json.plain(event)) as response:
                    await response.read()


async def main() -> None:
    asyncio.get_running_loop().run_in_executor(None, lambda: (sys.stdin.buffer.read(), os._exit(0)))
    await relay(sys.argv[1], sys.argv[2], URL(sys.argv[3]))


if __name__ == "__main__":
    uvloop.run(main())
