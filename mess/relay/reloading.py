"""Puts a changed config in force while the relay runs: only what has changed is replaced."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mess.cancellation import within
from mess.capture import client as mongodb
from mess.capture import preflight
from mess.capture.plan import StreamPlan
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

if TYPE_CHECKING:
    from mess.relay.kafka.worker import Worker

log = get_logger("mess.relay")

_OPEN_SECONDS = 30.0
_CLOSE_SECONDS = 5.0
_EXAMINE_SECONDS = 30.0


class Reloading:
    """Reloads the config of a relay that runs. `load` reads it again; `changed` is called with one that is in force."""

    def __init__(
        self, running: Running | Worker, load: Callable[[], Loaded], changed: Callable[[Loaded], None]
    ) -> None:
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
            except Exception as error:
                log.exception("the reload has failed; please report this")
                result = reload_result([_brief(error)], ok=False)
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

    async def _reload(self) -> Sequence[str]:
        running = self._running
        try:
            await running.stopping.unless(_wait(running.engine.began))
            prepared = await running.stopping.unless(self._prepared())
        except Halted:
            raise _NotReloaded("the relay is stopping") from None
        if prepared is None:
            return ["nothing has changed"]
        if running.stopping.is_set():
            await prepared.discard()
            raise _NotReloaded("the relay is stopping")
        try:
            late = await self._put_in_force(prepared)
        except Exception as error:
            # Some is replaced, and some is not. The next start does that, from what is stored.
            running.stopping.fail(error)
            raise _NotReloaded(f"the relay stops: {_brief(error)}") from error
        self._changed(prepared.loaded)
        return told(prepared.changes, late)

    async def _prepared(self) -> _Prepared | None:
        """Everything that is needed, while nothing has changed yet; None if nothing is to change."""
        running = self._running
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
            return None
        config = in_force(running.config, loaded.config, changes.later)
        prepared = _Prepared(replace(loaded, config=config), plans, changes, clients=self._connected(loaded, changes))
        try:
            await self._examine(prepared)
            await self._open(prepared)
        except BaseException:
            await prepared.discard()
            raise
        return prepared

    def _changes(
        self, loaded: Loaded, identities: Mapping[str, tuple[str, ...]], divided: Collection[str]
    ) -> tuple[list[StreamPlan], Changes]:
        """The streams of a config, and what it changes. Takes long enough to be done in a thread."""
        running = self._running
        try:
            plans = running.planned(loaded.config)
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
            if "mongodb.url" in changes.connections and isinstance(running, Running):
                clients["mongodb"] = running.client.another(config.mongodb.url)
            kept_in = "state.url" if config.state.url else "mongodb.url"
            if kept_in in changes.connections and running.state_client is not None:
                clients["state"] = running.state_client.another(config.state.url or config.mongodb.url)
            if "state" in clients and running.lease_client is not None:
                clients["lease"] = running.lease_client.another(config.state.url or config.mongodb.url)
        except ConfigError as error:
            raise _NotReloaded(*map(str, error.problems)) from error
        return clients

    async def _examine(self, prepared: _Prepared) -> None:
        """Make sure that MongoDB accepts new clients, and can serve the streams that are to be opened."""
        running, clients = self._running, prepared.clients
        wanted = [plan for plan in prepared.plans if plan.name in prepared.changes.streams or "mongodb" in clients]
        client = clients.get("mongodb", running.client if isinstance(running, Running) else None)
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
            raise _NotReloaded(_brief(error)) from error
        if wrong:
            raise _NotReloaded(*wrong)

    async def _open(self, prepared: _Prepared) -> None:
        """Make the new pipelines ready for events."""
        names = [*prepared.changes.added, *prepared.changes.replaced]
        try:
            steps = await asyncio.to_thread(build_pipelines, prepared.loaded, names)
        except ConfigError as error:
            raise _NotReloaded(*map(str, error.problems)) from error
        for name in names:
            pipeline = prepared.new[name] = self._running.parts.pipeline(name, steps[name])
            try:
                await within(_OPEN_SECONDS, pipeline.open())
            except Exception as error:
                raise _NotReloaded(f"pipeline {name} cannot be opened: {_brief(error)}") from error

    async def _put_in_force(self, prepared: _Prepared) -> int:
        """Replace connections, pipelines and streams. Returns how many deliveries were cancelled."""
        running, changes, config = self._running, prepared.changes, prepared.loaded.config
        if "mongodb" in prepared.clients and isinstance(running, Running):
            running.reconnect(prepared.clients["mongodb"])
        if "state" in prepared.clients and running.state_client is not None:
            running.state_client.replace(prepared.clients["state"])
        if "lease" in prepared.clients and running.lease_client is not None:
            running.lease_client.replace(prepared.clients["lease"])
        running.put_in_force(prepared.loaded)
        if isinstance(running, Running):
            running.backfills.join(prepared.new.values())
        halted = await running.streams.halt(changes.streams)
        stopped = [stream.runner for stream in halted if stream.runner is not None]
        others = [runner for runner in running.streams.runners if runner not in stopped]
        swap = Swap(running.parts, prepared.new, changes.removed)
        swap.begin(config, others, stopped)
        running.pauses.apply()
        running.show_steps()
        late = await swap.drained(config.shutdown_grace)
        if running.stopping.is_set():
            return late
        swap.end(others)
        if changes.streams and isinstance(running, Running):
            with contextlib.suppress(Halted):
                await running.rearrange(halted, prepared.plans, changes.streams)
        return late


@dataclass(slots=True)
class _Prepared:
    """What a reload puts in force: a config with its streams, `clients` for URLs that have changed, and the `new`
    pipelines, which are open."""

    loaded: Loaded
    plans: list[StreamPlan]
    changes: Changes
    clients: dict[str, Any] = field(default_factory=dict)
    new: dict[str, Pipeline] = field(default_factory=dict)

    async def discard(self) -> None:
        """Close everything."""
        for client in self.clients.values():
            await mongodb.close(client)
        for pipeline in self.new.values():
            try:
                await within(_CLOSE_SECONDS, pipeline.close())
            except Exception as error:
                log.warning("a pipeline could not be closed", pipeline=pipeline.name, error=error)


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


class _NotReloaded(Exception):
    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.lines = lines


def _brief(error: Exception) -> str:
    return str(error) if isinstance(error, MessError) else f"{type(error).__name__}: {error}"
