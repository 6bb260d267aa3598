"""A TCP proxy that keeps what a server sends, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Wire:
    """`url` leads to a MongoDB through the proxy; `received` is what it has sent to all clients, uncompressed."""

    def __init__(self, host: str, port: int) -> None:
        self.url = ""
        self.received = bytearray()
        self._server = (host, port)
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a client."""
        server_reader, server_writer = await asyncio.open_connection(*self._server)
        for task in (
            asyncio.create_task(_pass_on(reader, server_writer, bytearray())),
            asyncio.create_task(_pass_on(server_reader, writer, self.received)),
        ):
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End every connection."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray) -> None:
    try:
        while data := await reader.read(2**16):
            kept += data
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


@asynccontextmanager
async def recorded(address: str) -> AsyncIterator[Wire]:
    """A proxy in front of one server, `host:port`."""
    host, _, port = address.rpartition(":")
    wire = Wire(host, int(port))
    async with await asyncio.start_server(wire.connect, "127.0.0.1", 0) as server:
        own = server.sockets[0].getsockname()[1]
        wire.url = f"mongodb://127.0.0.1:{own}/?directConnection=true"
        try:
            yield wire
        finally:
            await wire.close()
