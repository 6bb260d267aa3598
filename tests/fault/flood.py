"""Holds connections to a port, as a process of its own: `python -m tests.fault.flood PORT COUNT DATA DROP`.

Each connection sends DATA, then DROP every two seconds; one that is closed is opened again after a second.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator


async def hold(port: int, data: bytes, drop: bytes) -> None:
    """Keep one connection open."""
    while True:
        with contextlib.suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(data)
                while not reader.at_eof():
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(2):
                            await reader.read(1000)
                    writer.write(drop)
            finally:
                writer.transport.abort()
        await asyncio.sleep(1)


async def flood(port: int, count: int, data: bytes, drop: bytes) -> None:
    """Keep `count` connections open, for two minutes at the most."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
            for _ in range(count):
                tasks.create_task(hold(port, data, drop))


@contextlib.asynccontextmanager
async def flooding(port: int, count: int, data: bytes, drop: bytes) -> AsyncIterator[None]:
    """Run this module as long as the block runs."""
    arguments = [str(port), str(count), data.decode(), drop.decode()]
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.fault.flood", *arguments)
    try:
        yield
    finally:
        process.kill()
        await process.wait()


if __name__ == "__main__":
    _, port, count, data, drop = sys.argv
    asyncio.run(flood(int(port), int(count), data.encode(), drop.encode()))
