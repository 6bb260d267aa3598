"""Operators' pauses: follows their records, and lets the paused streams and steps wait."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Protocol

from mess.capture.arrangement import main_stream
from mess.errors import StateError
from mess.options.values import written_time
from mess.relay.runner import StreamRunner
from mess.relay.step_runner import StepRunner
from mess.state.pauses import Pause, Target
from mess.state.store import StateStore
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_LOOK = 1.0  # seconds between two looks at the records


class Pausable(Protocol):
    """A relay's streams and steps, which may be replaced while it runs."""

    @property
    def runners(self) -> Sequence[StreamRunner]:
        """The runners of the streams."""

    @property
    def step_runners(self) -> Sequence[StepRunner]:
        """The runners of all pipelines' steps."""


class Pauses:
    """Applies the records of pauses to a relay's streams and steps.

    A paused stream is not read. A paused step lets its deliveries wait, once those in flight are done; a paused
    pipeline is one of which all steps are paused. Nothing is lost: MongoDB's oplog keeps what is not read.
    """

    def __init__(self, store: StateStore, relay: Pausable) -> None:
        self._store = store
        self._relay = relay
        self._known: Mapping[Target, Pause] = {}
        self._problem: str | None = None
        # An older look must not undo what a newer one has found.
        self._looking = asyncio.Lock()

    @property
    def known(self) -> list[Pause]:
        """The pauses, oldest first."""
        return list(self._known.values())

    @property
    def problem(self) -> str | None:
        """Why the records cannot be followed at present; None if they can."""
        return self._problem

    def of_stream(self, name: str) -> Pause | None:
        """The pause of a stream, or of the one that it is to join; None if it is not paused."""
        return self._known.get(Target(stream=name)) or self._known.get(Target(stream=main_stream(name)))

    def of_pipeline(self, name: str) -> Pause | None:
        """The pause of a whole pipeline; None if it is not paused."""
        return self._known.get(Target(pipeline=name))

    def of_step(self, pipeline: str, step: str) -> Pause | None:
        """The pause of a step or of its pipeline; None if neither is paused."""
        return self._known.get(Target(pipeline=pipeline, step=step)) or self.of_pipeline(pipeline)

    def applies(self, target: Target) -> bool:
        """Whether the relay has such a stream, pipeline or step."""
        if target.stream is not None:
            return any(runner.name == target.stream for runner in self._relay.runners)
        return any(
            runner.pipeline == target.pipeline and target.step in (None, runner.name)
            for runner in self._relay.step_runners
        )

    async def begin(self) -> None:
        """Read and apply the records before anything flows. Raises StateError."""
        self._known = await self._read()
        for pause in self.known:
            if self.applies(pause.target):
                log.warning(
                    "paused", what=str(pause.target), since=written_time(pause.since), by=pause.by, reason=pause.reason
                )
            else:
                log.warning("a pause names what the config does not have (any more)", what=str(pause.target))
        self.apply()

    async def run(self) -> None:
        """Follow the records, forever."""
        while True:
            await asyncio.sleep(_LOOK)
            await self.look()

    async def look(self) -> None:
        """Read the records, and apply what has changed."""
        async with self._looking:
            try:
                self._follow(await self._read())
                self._problem = None
            except StateError as error:
                if self._problem is None:
                    log.warning("pauses cannot be followed at present", error=str(error))
                self._problem = str(error)

    def _follow(self, found: Mapping[Target, Pause]) -> None:
        for target in found.keys() - self._known.keys():
            log.warning("paused", what=str(target), by=found[target].by, reason=found[target].reason)
        for target in self._known.keys() - found.keys():
            log.info("resumed", what=str(target))
        self._known = found
        self.apply()

    async def pause(self, pause: Pause) -> None:
        """Store a pause and apply it. Raises StateError, even if it was stored but is not in force yet."""
        await self._store.pause(pause)
        await self.look()
        self._check()

    async def resume(self, target: Target) -> bool:
        """Remove a pause; False if there was none. Raises StateError."""
        removed = await self._store.resume(target)
        await self.look()
        self._check()
        return removed

    def _check(self) -> None:
        if self._problem is not None:
            raise StateError(f"it is recorded, but does not take effect yet: {self._problem}")

    def apply(self) -> None:
        """Apply the pauses to the current streams and steps; called, too, when some of them have been replaced."""
        for runner in self._relay.runners:
            if runner.held != (held := self.of_stream(runner.name) is not None):
                runner.hold(held=held)
        for step in self._relay.step_runners:
            if step.gate.closed == (closed := self.of_step(step.pipeline, step.name) is not None):
                continue
            if closed:
                step.gate.close()
            else:
                step.gate.open()

    async def _read(self) -> dict[Target, Pause]:
        return {pause.target: pause for pause in await self._store.pauses()}
