"""The API of real relays, over real HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from mess import Relay
from tests.integration.relay.conftest import Lab, lab, receiver  # noqa: F401 - fixtures
from tests.waiting import PATIENCE

CHANGE = {"mess-request": "1"}


class Api:
    """A client of a relay's API; each method returns the status and the JSON of the answer."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = f"{url}/api/v1"

    async def get(self, path: str, **options: Any) -> tuple[int, Any]:
        async with self._session.get(self.url + path, **options) as got:
            return got.status, await got.json()

    async def post(self, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        options.setdefault("headers", CHANGE)
        async with self._session.post(self.url + path, json=body, **options) as got:
            return got.status, await got.json()

    async def ok(self, path: str, body: Any = None) -> Any:
        """The answer to a request that must succeed: a POST if there is a body."""
        status, found = await (self.get(path) if body is None else self.post(path, body))
        assert status == 200, found
        return found


async def eventually(check: Callable[[], Awaitable[Any]], what: str) -> Any:
    """The first result of `check` that is true."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await check()):  # noqa: ASYNC110 - it asks over HTTP
            await asyncio.sleep(0.05)
    assert found, what
    return found


@asynccontextmanager
async def api_of(relay: Relay) -> AsyncIterator[Api]:
    """A client of a running relay's API."""
    assert relay.admin is not None
    async with aiohttp.ClientSession() as session:
        yield Api(session, relay.admin.url)


@pytest.fixture
def running(lab: Lab) -> Callable[..., Any]:  # noqa: F811
    """`async with running(**options) as (relay, api)`: a relay that reads its streams, and its API."""

    @asynccontextmanager
    async def run(**options: Any) -> AsyncIterator[tuple[Relay, Api]]:
        async with lab.running(**options) as relay, api_of(relay) as api:
            yield relay, api

    return run
