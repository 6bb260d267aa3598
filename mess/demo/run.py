"""The demo: runs MongoDB, a shop that writes to it, the relay, and a request bin."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from mess.app import Relay
from mess.demo.arrival import all_arrived, missing
from mess.demo.bin import RequestBin
from mess.demo.chaos import Act, Chaos
from mess.demo.config import command, make_relay, write_config
from mess.demo.deployment import Deployment, deployment, opened_shop, reached
from mess.demo.mongod import find_mongod
from mess.demo.ports import HOST, free_port
from mess.demo.screen import Screen
from mess.demo.shop import Shop
from mess.demo.stop_signal import stop_signal
from mess.errors import SourceUnavailable
from mess.telemetry.logging import configure

_READY_SECONDS = 20.0


async def run_demo(
    *,
    seconds: float | None = None,
    url: str | None = None,
    rate: float = 2.0,
    acts: Sequence[Act] = (),
    seed: int | None = None,
    console: Console | None = None,
) -> bool:
    """Run until Ctrl-C, SIGTERM, or for `seconds` of writing; returns whether every event arrived.

    With `url` it watches that replica set instead of starting one, uses its own database there, and drops it at the
    end. `rate` is how many writes the shop makes per second; the same `seed` gives the same writes. The receiver plays
    the `acts`, if there are any. Everything that the demo created is removed at the end. Raises the MessError that
    prevents it from continuing.
    """
    configure("warning", "console")
    screen = Screen(console)
    if url is None:
        find_mongod()
    admin_port = free_port()
    address = f"http://{HOST}:{admin_port}/app"
    with stop_signal() as stop, tempfile.TemporaryDirectory(prefix="mess-demo-") as name:
        folder = Path(name)
        async with RequestBin(screen.event, port=free_port(), console=address) as requests:
            screen.open(address, requests.page)
            async with deployment(url, folder) as where:
                screen.say("mongodb", where.about)
                if url is not None:
                    await reached(url, seconds, screen, stop)
                if stop.is_set():
                    return True
                path = write_config(folder, where, endpoint=requests.url, secret=requests.secret, admin_port=admin_port)
                screen.config(path)
                demo = _Demo(
                    make_relay(path, where),
                    where,
                    requests,
                    screen=screen,
                    stop=stop,
                    replay=command("dead-letters replay --all", path, where),
                )
                async with opened_shop(where, screen, rate, seed=seed) as shop:
                    return await demo.run(shop, seconds=seconds, rate=rate, acts=acts)


class _Demo:
    """A relay between a shop and a request bin. `replay` is the command that replays its dead letters."""

    def __init__(
        self,
        relay: Relay,
        where: Deployment,
        requests: RequestBin,
        *,
        screen: Screen,
        stop: asyncio.Event,
        replay: str,
    ) -> None:
        self._relay = relay
        self._where = where
        self._requests = requests
        self._screen = screen
        self._stop = stop
        self._replay = replay

    async def run(self, shop: Shop, *, seconds: float | None, rate: float, acts: Sequence[Act]) -> bool:
        """Relay until it is time to stop, wait for what is on its way, and print the result; returns whether everything
        has arrived."""
        relay, requests = self._relay, self._requests
        relaying = asyncio.create_task(relay.run(wait=0))
        try:
            await _first(relaying, _ready(relay), self._stop.wait())
            if not (self._stop.is_set() or relaying.done()):
                how = f"for {seconds:g} seconds" if seconds is not None else "until Ctrl-C"
                self._screen.say(
                    "shop", f"now writes to {self._where.database}, {rate:g} times a second, {how}" + "\n" * (not acts)
                )
                pause = asyncio.sleep(seconds) if seconds is not None else asyncio.Event().wait()
                await _first(relaying, shop.run(), self._stop.wait(), pause, *self._chaos(acts))
                await _first(relaying, all_arrived(relay, shop, requests, self._screen))
                if missing(shop, requests) and (problems := relay.status.problems()):
                    raise SourceUnavailable("; ".join(problems))
        finally:
            relay.stop()
            await asyncio.wait({relaying})
        relaying.result()
        lost_existing = (shop.existing - requests.existing).total()
        lost = self._screen.summary(
            shop.written, requests.received, requests.again, replayed=requests.replayed, lost_existing=lost_existing
        )
        return lost == 0

    def _chaos(self, acts: Sequence[Act]) -> list[Coroutine[Any, Any, None]]:
        if not acts:
            return []

        def say(title: str, text: str) -> None:
            text = text.format(replay=self._replay)
            self._requests.history.announce(f"{title.capitalize()}: {text}")
            self._screen.act(title, text)

        chaos = Chaos(acts, say)
        self._requests.answer = chaos.answer
        return [chaos.run()]


async def _first(relaying: asyncio.Task[None], *others: Coroutine[Any, Any, Any]) -> None:
    """Wait for the first to end, then end the others except the relay. Raises the error of one that failed."""
    tasks = {asyncio.create_task(other) for other in others}
    try:
        done, _ = await asyncio.wait({relaying, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in done - {relaying}:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ready(relay: Relay) -> None:
    """Return when the relay is ready. Raises SourceUnavailable if its MongoDB goes away meanwhile: it would wait for
    that forever."""
    try:
        async with asyncio.timeout(_READY_SECONDS):
            await relay.ready()
    except TimeoutError as error:
        raise SourceUnavailable("; ".join(relay.status.problems()) or "the relay does not become ready") from error
