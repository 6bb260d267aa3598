"""`mess tail` at servers that do not answer as a relay does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from mess.cli.tail import _tail


class Stranger:
    """Claims to be a relay; each of its live tails is `message`, `times` over."""

    def __init__(self, message: bytes, times: int = 1) -> None:
        self.tails = 0
        self._message = message
        self._times = times

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        app = web.Application()
        app.add_routes([web.get("/api/v1/status", self._status), web.get("/api/v1/events", self._events)])
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _status(self, request: web.Request) -> web.Response:
        return web.json_response({"instance": {}, "name": "stranger"})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self.tails += 1
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(self._times):
            await response.write(self._message)
        return response


@pytest.mark.parametrize("message", [b": nothing\n\n", b"event: change\ndata: {\n\n", b"garbage\n\n"])
async def test_a_tail_that_ends_at_once_is_not_asked_for_again_at_once(message: bytes) -> None:
    stranger = Stranger(message)
    async with stranger.serving() as url:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.7):
                await _tail(None, url, None, query={}, count=None, as_json=False)
    assert 1 <= stranger.tails <= 2


async def test_a_message_without_an_end_is_not_kept(capsys: pytest.CaptureFixture[str]) -> None:
    stranger = Stranger(b"x" * 1024**2, times=40)
    async with stranger.serving() as url:
        task = asyncio.create_task(_tail(None, url, None, query={}, count=None, as_json=False))
        async with asyncio.timeout(30):
            while "is no relay" not in capsys.readouterr().err:  # noqa: ASYNC110 - it only prints
                await asyncio.sleep(0.05)
        task.cancel()
