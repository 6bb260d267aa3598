"""A stream without MongoDB: its window, and the lanes that its events are led into."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from bson import Timestamp

from mess.capture.source import Batch
from mess.capture.tokens import position_after
from mess.config.model import Config, StepSpec
from mess.event import Event, Position
from mess.relay.assembly import Assembly
from mess.relay.build import BuiltStep
from mess.relay.completion import Completion
from mess.relay.dispatch import Dispatcher
from mess.relay.lane import Lane
from mess.relay.pipeline import Pipeline
from mess.relay.router import Claim, LaneGroups, ScopeRouter
from mess.relay.stopping import Stopping
from mess.relay.window import Window
from mess.steps.base import Step
from mess.telemetry.metrics import Metrics
from mess.telemetry.observer import PipelineObserver
from tests.unit.fakes import Letters


class Stream:
    """Delivers events by a pipeline of `steps`, each with its options in the config; `order` is the config's."""

    def __init__(self, *steps: tuple[Step, Mapping[str, Any]], order: str = "document") -> None:
        config = Config.model_validate({"databases": {"*": {}}, "name": "generated", "order": order})
        self.letters = Letters()
        self.window = Window(1000, 10**9, position_after)
        self._completion = Completion(self.window, PipelineObserver())
        self._stopping = Stopping()
        config_steps = [
            BuiltStep(f"step {number}", StepSpec.model_validate({"name": f"step {number}", **options}), step)
            for number, (step, options) in enumerate(steps)
        ]
        parts = Assembly(config, {"top level": config_steps}, self.letters, self._stopping, Metrics("generated"))
        begin = Timestamp(1, 1)
        claim = Claim(lambda namespace: begin, lambda namespace: begin)
        router = ScopeRouter(config, claim, begin, parts.pipelines, LaneGroups(self._lane, 1000))
        self._dispatcher = Dispatcher(self.window, router)

    def _lane(self, pipeline: Pipeline) -> Lane:
        return Lane(pipeline, self._completion, wants_more=self._dispatcher.wants_more)

    async def take(self, arrivals: Sequence[tuple[float, Sequence[Event]]], timeout: float) -> None:
        """Take in events, each lot after so many seconds, and return when they are delivered or given up. What ends the
        stream is raised, and TimeoutError after `timeout` seconds."""
        work, stop = asyncio.create_task(self._deliver(arrivals)), asyncio.create_task(self._stopping.wait())
        try:
            async with asyncio.timeout(timeout):
                await asyncio.wait({work, stop}, return_when=asyncio.FIRST_COMPLETED)
            if self._stopping.failure is not None:
                raise self._stopping.failure
            await work
        finally:
            self._stopping.set()
            work.cancel()
            stop.cancel()
            await asyncio.gather(work, stop, return_exceptions=True)

    async def _deliver(self, arrivals: Sequence[tuple[float, Sequence[Event]]]) -> None:
        for pause, events in arrivals:
            await asyncio.sleep(pause)
            await self._dispatcher.dispatch(Batch(events, Position(None, None)))
        await self.window.drained()
