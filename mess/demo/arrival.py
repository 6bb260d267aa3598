"""Waits at the end for everything that was written to arrive, dead letters included."""

from __future__ import annotations

import asyncio
import contextlib

from mess.app import Relay
from mess.demo.bin import RequestBin
from mess.demo.screen import Screen
from mess.demo.shop import Shop
from mess.replay.letters import replayer_for

_SECONDS = 30.0
"""How long to wait. An idle MongoDB may take ten seconds to show where existing documents belong."""
_LOOK_SECONDS = 0.5


def missing(shop: Shop, requests: RequestBin) -> bool:
    """Whether something that the shop has written has not arrived."""
    return bool(shop.written - requests.received or shop.existing - requests.existing)


async def all_arrived(relay: Relay, shop: Shop, requests: RequestBin, screen: Screen) -> None:
    """Return when everything has arrived, or after 30 seconds. Replays dead letters as `mess dead-letters replay --all`
    does. Raises StateError if they cannot be read."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_SECONDS):
            while missing(shop, requests):
                await _replay(relay, screen)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        while missing(shop, requests):
                            await requests.next()


async def _replay(relay: Relay, screen: Screen) -> None:
    store = relay.store
    letters = [] if store is None else await store.pointers()
    if store is not None and letters:
        screen.say("replay", f"{len(letters)} dead letters are left; they are sent again")
        await replayer_for(relay.loaded, store).run(letters)
