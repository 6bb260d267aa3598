"""Keeps one relay running through kills, stops and new configs, and writes down when which config was in force."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from bson import Timestamp

from tests.campaign.configs import selection
from tests.checker.committed import CommittedChanges
from tests.checker.runs import Run
from tests.fault.relay import RelayProcess

_STOP_SECONDS = 25.0
_READY_SECONDS = 20.0


class RelayKeeper:
    """One relay name. `runs` are its lives so far; `problems` what it did that nobody asked for.

    `mongodb_is_up` says whether MongoDB answers at the moment, as far as the scenario knows.
    """

    def __init__(self, folder: Path, committed: CommittedChanges, mongodb_is_up: Callable[[], bool]) -> None:
        self.runs: list[Run] = []
        self.problems: list[str] = []
        self._folder = folder
        self._committed = committed
        self._mongodb_is_up = mongodb_is_up
        self._relays: list[RelayProcess] = []
        self._last_time = Timestamp(0, 0)
        self._tasks: list[asyncio.Task[None]] = []
        self._watch: asyncio.Task[None] | None = None
        self._config: Mapping[str, Any] = {}
        self._older: tuple[RelayProcess, Run] | None = None
        self._expected = False

    @property
    def relay(self) -> RelayProcess:
        """The process of the newest config."""
        return self._relays[-1]

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return bool(self._relays) and self.relay.running

    @property
    def text(self) -> str:
        """All that it has said."""
        return "".join(relay.text for relay in self._relays)

    async def start(self, config: Mapping[str, Any] | None = None, *arguments: str) -> None:
        """Start it, with a new config or the one before, and more arguments for its command line."""
        if (config is not None and config != self._config) or arguments:
            self._config = self._config if config is None else config
            folder = self._folder / f"config-{len(self._relays)}"
            folder.mkdir()
            self._relays.append(RelayProcess(folder, self._config))
        self.relay.arguments = arguments
        if self._mongodb_is_up():
            self._last_time = await asyncio.to_thread(self._committed.time)
        chosen = selection(self._config)
        run = Run(chosen, began=self._last_time, oldest=self._config.get("start") == "oldest")
        self.runs.append(run)
        self._expected = True
        await self.relay.start(ready=False)
        self._watch = asyncio.create_task(self._note_ready(run))

    async def reload(self, config: Mapping[str, Any]) -> None:
        """Put a new config in force without a restart."""
        await self.ready()
        if not self.running or self.runs[-1].ready is None:
            await self.kill()
            await self.start(config)
            return
        self._config = config
        self._last_time = await asyncio.to_thread(self._committed.time)
        older, run = self.runs[-1], Run(selection(config), self._last_time, oldest=config.get("start") == "oldest")
        self.runs.append(run)
        try:
            result = await self.relay.reload(config)
        except (AssertionError, aiohttp.ClientError, TimeoutError) as error:
            self.problems.append(f"does not reload: {error!r}")
            return
        if not result["ok"]:
            self.problems.append(f"has not reloaded: {result['text']}")
        run.ready = older.ended = await asyncio.to_thread(self._committed.time)

    async def take_over(self, config: Mapping[str, Any], *, paused: bool) -> None:
        """Start a second process of the same name, which stops the first, if that has the name already; with `paused`,
        as soon as that goes on (see `taken_over`)."""
        await self.ready()
        if not self.running or self.runs[-1].ready is None:
            await self.kill()
            await self.start(config)
            return
        if paused:
            self.pause()
        self._older = (self.relay, self.runs[-1])
        await self.start(config, "--take-over")

    async def taken_over(self) -> None:
        """Return when the first process has ended."""
        if self._older is None:
            return
        (older, run), self._older = self._older, None
        with contextlib.suppress(ProcessLookupError):
            os.kill(older.pid, signal.SIGCONT)
        if not self._mongodb_is_up():
            older.kill()  # the other waits for MongoDB first, and nothing else happens meanwhile
            self._note_end(run)
            return
        try:
            code = await older.exit_code(_STOP_SECONDS)
        except AssertionError:
            self.problems.append("goes on beside the process that took over")
            older.kill()
        else:
            if code != 6:
                self.problems.append(f"exit code {code} after another took over: {_last_words(older)}")
        self._note_end(run)

    async def kill(self) -> None:
        """End it as a crash would."""
        if self.running:
            self._expected = False
            self.relay.kill()
            self._ended()

    async def stop(self) -> None:
        """Ask it to stop, and wait until it has."""
        if not self.running:
            return
        self._expected = False
        up = self._mongodb_is_up()
        self.relay.terminate()
        try:
            code = await self.relay.exit_code(_STOP_SECONDS)
        except AssertionError:
            self.problems.append(f"does not stop within {_STOP_SECONDS:g} s of SIGTERM")
            self.relay.kill()
        else:
            # Before its handlers are in place, the signal ends the process by itself.
            starting = self.runs[-1].ready is None
            allowed = {0, *(() if up and self._mongodb_is_up() else (5,)), *((-signal.SIGTERM,) if starting else ())}
            if code not in allowed:
                self.problems.append(f"exit code {code} after SIGTERM: {_last_words(self.relay)}")
        self._ended()

    def pause(self) -> None:
        """Make it hang."""
        if self.running:
            os.kill(self.relay.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        if self.running:
            os.kill(self.relay.pid, signal.SIGCONT)

    async def revive(self) -> None:
        """Start it again if it has ended by itself, which is a problem."""
        if self._expected and not self.running:
            self.problems.append(
                f"ended by itself with exit code {self.relay.process.returncode}: {_last_words(self.relay)}"
            )
            self._expected = False
            self._ended()
            await self.start()

    async def ready(self) -> float:
        """Wait until it reads MongoDB, but not for long; how many seconds that took."""
        began = time.monotonic()
        while self.running and self.runs[-1].ready is None and time.monotonic() < began + _READY_SECONDS:  # noqa: ASYNC110 - set by a thread
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def times(self) -> None:
        """Return when all times are known."""
        for task in self._tasks:
            await task

    def close(self) -> None:
        """End it if it still runs."""
        if self._watch is not None:
            self._watch.cancel()
        for relay in self._relays:
            if relay.running:
                relay.kill()

    def _ended(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._note_end(self.runs[-1])

    def _note_end(self, run: Run) -> None:
        def note(time: Timestamp) -> None:
            run.ended = time

        self._note_time(note)

    def _note_time(self, note: Callable[[Timestamp], None]) -> None:
        async def ask() -> None:
            note(await asyncio.to_thread(self._committed.time))

        self._tasks.append(asyncio.create_task(ask()))

    async def _note_ready(self, run: Run) -> None:
        def note(time: Timestamp) -> None:
            run.ready = time

        relay = self.relay
        with contextlib.suppress(AssertionError):
            await relay.ready(120, steps=False)
            self._note_time(note)


def _last_words(relay: RelayProcess) -> str:
    return " | ".join(relay.text.splitlines()[-2:])[-600:]
