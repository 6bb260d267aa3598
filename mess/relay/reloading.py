"""Puts a changed config in force while the relay runs: only what has changed is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mess.cancellation import within
from mess.capture import client as mongodb
from mess.capture import preflight
from mess.capture.plan import StreamPlan, plan
from mess.capture.reach import answer
from mess.config.load import Loaded
from mess.errors import ConfigError, MessError
from mess.relay.build import build_pipelines
from mess.relay.changes import Changes, compare, in_force, told
from mess.relay.pipeline import Pipeline
from mess.relay.reload_result import ReloadResult, reload_result
from mess.relay.running import Running
from mess.relay.stopping import Halted
from mess.relay.swapping import Swap
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_OPEN_SECONDS = 30.0
_EXAMINE_SECONDS = 30.0


class Reloading:
    """Reloads the config of a relay that runs. `load` reads it again; `changed` is called with one that is in force."""

    def __init__(self, running: Running, load: Callable[[], Loaded], changed: Callable[[Loaded], None]) -> None:
        self._running = running
        self._load = load
        self._changed = changed
        self._one_at_a_time = asyncio.Lock()
        self.last: ReloadResult | None = None

    async def reload(self) -> ReloadResult:
        """Read the config again, and replace what has changed. With a mistake in it, everything stays as it is.

        If a reload is under way, this one follows it.
        """
        async with self._one_at_a_time:
            try:
                async with self._running.streams.arranging:
                    lines = await self._reload()
                result = reload_result(lines, ok=True)
            except _NotReloaded as error:
                result = reload_result(error.lines, ok=False)
            self.last = result
        if result.ok:
            log.info("config reloaded", changes="; ".join(result.text))
        else:
            log.error("config not reloaded; the old one stays in force", problem="; ".join(result.text))
        return result

    async def finished(self) -> None:
        """Return when no reload is under way."""
        async with self._one_at_a_time:
            pass

    async def _reload(self) -> list[str]:
        running = self._running
        if running.stopping.is_set():
            raise _NotReloaded("the relay is stopping")
        loaded = await self._loaded()
        plans, changes = await asyncio.to_thread(
            self._changes,
            loaded,
            {name: pipeline.identities for name, pipeline in running.parts.pipelines.items()},
            running.streams.divided(),
        )
        if changes.refused:
            raise _NotReloaded(
                *(f"{option} cannot be changed while the relay runs; restart it" for option in changes.refused)
            )
        if changes.nothing:
            return ["nothing has changed"]
        clients = self._connected(loaded, changes)
        try:
            await self._examine(clients, plans, changes.streams)
            new = await self._opened(loaded, [*changes.added, *changes.replaced])
            if running.stopping.is_set():
                await _close(new)
                raise _NotReloaded("the relay is stopping")
        except BaseException:
            await asyncio.gather(*(mongodb.close(client) for client in clients.values()))
            raise
        if "mongodb" in clients:
            running.reconnect(clients["mongodb"])
        if "state" in clients and running.state_client is not None:
            running.state_client.replace(clients["state"])
        loaded = replace(loaded, config=in_force(running.config, loaded.config, changes.later))
        late = await self._put_in_force(loaded, new, changes, plans)
        self._changed(loaded)
        return told(changes, late)

    def _changes(
        self, loaded: Loaded, identities: Mapping[str, tuple[str, ...]], divided: Collection[str]
    ) -> tuple[list[StreamPlan], Changes]:
        """The streams of a config, and what it changes. Takes long enough to be done in a thread."""
        running = self._running
        try:
            plans = plan(loaded.config)
        except ConfigError as error:
            raise _NotReloaded(*map(str, error.problems)) from error
        known = (running.plans, plans)
        return plans, compare(running.loaded, loaded, known, identities=identities, divided=divided)

    async def _loaded(self) -> Loaded:
        try:
            return await asyncio.to_thread(self._load)
        except ConfigError as error:
            raise _NotReloaded(*map(str, error.problems)) from error

    def _connected(self, loaded: Loaded, changes: Changes) -> dict[str, Any]:
        """New clients, for the URLs that have changed: to read `mongodb`, and for the `state`."""
        running, config = self._running, loaded.config
        clients: dict[str, Any] = {}
        try:
            if "mongodb.url" in changes.connections:
                clients["mongodb"] = running.client.another(config.mongodb.url)
            kept_in = "state.url" if config.state.url else "mongodb.url"
            if kept_in in changes.connections and running.state_client is not None:
                clients["state"] = running.state_client.another(config.state.url or config.mongodb.url)
        except ConfigError as error:
            raise _NotReloaded(*map(str, error.problems)) from error
        return clients

    async def _examine(self, clients: dict[str, Any], plans: Sequence[StreamPlan], names: Collection[str]) -> None:
        """Make sure that MongoDB accepts new clients, and can serve the streams that are to be opened."""
        running = self._running
        wanted = [plan for plan in plans if plan.name in names or "mongodb" in clients]
        client = clients.get("mongodb", running.client)
        wrong: list[str] = []
        try:
            async with asyncio.timeout(_EXAMINE_SECONDS):
                if wanted:
                    hello = await preflight.verify(client)
                    findings = preflight.examine(client, hello, wanted, running.config.state.database)
                    wrong = [f"{each.what}\n{each.remedy}".strip() async for each in findings if not each.ok]
                if "state" in clients:
                    await answer(clients["state"])
        except Exception as error:
            raise _NotReloaded(f"MongoDB does not accept it: {_brief(error)}") from error
        if wrong:
            raise _NotReloaded(*wrong)

    async def _opened(self, loaded: Loaded, names: Sequence[str]) -> dict[str, Pipeline]:
        """The new pipelines, ready for events."""
        running = self._running
        try:
            steps = await asyncio.to_thread(build_pipelines, loaded, names)
        except ConfigError as error:
            raise _NotReloaded(*map(str, error.problems)) from error
        new: dict[str, Pipeline] = {}
        for name in names:
            new[name] = running.parts.pipeline(name, steps[name])
            try:
                await within(_OPEN_SECONDS, new[name].open())
            except Exception as error:
                await _close(new)
                raise _NotReloaded(f"pipeline {name} cannot be opened: {_brief(error)}") from error
        return new

    async def _put_in_force(
        self, loaded: Loaded, new: dict[str, Pipeline], changes: Changes, plans: Sequence[StreamPlan]
    ) -> int:
        """Replace pipelines and streams. Returns how many deliveries were cancelled.

        An error from here on ends the relay: it starts again with the new config, from what is stored.
        """
        running = self._running
        running.put_in_force(loaded)
        running.backfills.join(new.values())
        halted = await running.streams.halt(changes.streams)
        stopped = [stream.runner for stream in halted if stream.runner is not None]
        others = [runner for runner in running.streams.runners if runner not in stopped]
        swap = Swap(running.parts, new, changes.removed)
        swap.begin(loaded.config, others, stopped)
        running.pauses.apply()
        running.show_steps()
        late = await swap.drained(loaded.config.shutdown_grace)
        if running.stopping.is_set():
            return late
        swap.end(others)
        if changes.streams:
            try:
                await running.rearrange(halted, plans, changes.streams)
            except Halted:
                pass
            except Exception as error:
                running.stopping.fail(error)
                raise _NotReloaded(f"the relay stops: {_brief(error)}") from error
        return late


class _NotReloaded(Exception):
    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.lines = lines


async def _close(pipelines: dict[str, Pipeline]) -> None:
    for pipeline in pipelines.values():
        try:
            await within(_OPEN_SECONDS, pipeline.close())
        except Exception as error:
            log.warning("a pipeline could not be closed", pipeline=pipeline.name, error=error)


def _brief(error: Exception) -> str:
    return str(error) if isinstance(error, MessError) else f"{type(error).__name__}: {error}"
