"""Puts a changed config in force while the relay runs: only what has changed is replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace

from mess.cancellation import within
from mess.capture.plan import plan
from mess.config.load import Loaded
from mess.errors import ConfigError, MessError
from mess.relay.build import build_pipelines
from mess.relay.changes import Changes, compare, in_force
from mess.relay.pipeline import Pipeline
from mess.relay.reload_result import ReloadResult, reload_result
from mess.relay.running import Running
from mess.relay.swapping import Swap
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_OPEN_SECONDS = 30.0


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
        plans = plan(loaded.config)
        identities = {name: pipeline.identities for name, pipeline in running.parts.pipelines.items()}
        changes = compare(running.loaded, loaded, (running.plans, plans), identities)
        if changes.refused:
            raise _NotReloaded(
                *(f"{option} cannot be changed while the relay runs; restart it" for option in changes.refused)
            )
        if changes.nothing:
            return ["nothing has changed"]
        new = await self._opened(loaded, [*changes.added, *changes.replaced])
        if running.stopping.is_set():
            await _close(new)
            raise _NotReloaded("the relay is stopping")
        loaded = replace(loaded, config=in_force(running.config, loaded.config, changes.later))
        late = await self._swap(loaded, new, changes)
        self._changed(loaded)
        return _told(changes, late)

    async def _loaded(self) -> Loaded:
        try:
            return await asyncio.to_thread(self._load)
        except ConfigError as error:
            raise _NotReloaded(*map(str, error.problems)) from error

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

    async def _swap(self, loaded: Loaded, new: dict[str, Pipeline], changes: Changes) -> int:
        running = self._running
        running.put_in_force(loaded)
        running.backfills.join(new.values())
        swap = Swap(running.parts, new, changes.removed)
        swap.begin(loaded.config, running.streams.runners)
        late = await swap.drained(loaded.config.shutdown_grace)
        if not running.stopping.is_set():
            swap.end(running.streams.runners)
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


def _told(changes: Changes, late: int) -> list[str]:
    told: list[str] = []
    for what, names in (
        ("replaced pipeline", changes.replaced),
        ("added pipeline", changes.added),
        ("removed pipeline", changes.removed),
    ):
        if names:
            told.append(f"{what}{'s' if len(names) > 1 else ''} {', '.join(names)}")
    if changes.kept:
        told.append(f"kept pipeline{'s' if len(changes.kept) > 1 else ''} {', '.join(changes.kept)}")
    told += [f"applied {option}" for option in changes.live]
    told += [f"{option} takes effect at the next start" for option in changes.later]
    if late:
        told.append(
            f"{late} deliveries did not finish within shutdown_grace; they were cancelled, and are being repeated"
        )
    return told
