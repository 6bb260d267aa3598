"""What every running relay has, wherever its events come from."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from mess.capture.current_client import CurrentClient
from mess.config.load import Loaded
from mess.config.model import Config
from mess.config.scope import pipeline_of
from mess.errors import StateError
from mess.leadership import Leadership
from mess.relay.assembly import Assembly
from mess.relay.build import Steps
from mess.relay.gaps import Keeper
from mess.relay.pauses import Pauses
from mess.relay.runner import StreamRunner
from mess.relay.sources import Share
from mess.relay.step_runner import StepRunner
from mess.relay.stopping import Stopping
from mess.relay.stored_counts import StoredCounts
from mess.state.store import StateStore
from mess.steps.base import Sink
from mess.telemetry.logging import get_logger
from mess.telemetry.metrics import Metrics
from mess.telemetry.tail.path import StepName
from mess.telemetry.tail.tail import Tail

if TYPE_CHECKING:
    from mess.telemetry.spans import Spans

log = get_logger("mess.relay")

_PRUNE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayContext:
    """What a running relay shares with the process that it runs in.

    `store` keeps the state, with `state_client` if it is in MongoDB. Deliveries, and records of their outcome, obey
    `leadership`.
    """

    store: StateStore
    state_client: CurrentClient | None
    stopping: Stopping
    metrics: Metrics
    tail: Tail
    spans: Spans | None
    leadership: Leadership


class RelayCore(ABC):
    """Config, state and pipelines of a running relay. `loaded` is the config in force."""

    def __init__(self, loaded: Loaded, context: RelayContext) -> None:
        self.loaded = loaded
        self.store = context.store
        self.state_client = context.state_client
        self.stopping = context.stopping
        self._metrics = context.metrics
        self._tail = context.tail
        self._spans = context.spans
        self.leadership = context.leadership
        self.stored = StoredCounts(context.store)
        self.parts: Assembly
        self.pauses: Pauses
        self._share = Share.of(loaded.config.window, 1)

    @property
    @abstractmethod
    def runners(self) -> Sequence[StreamRunner]:
        """The runners of the streams."""

    @property
    def step_runners(self) -> Sequence[StepRunner]:
        """The runners of all pipelines' steps."""
        return self.parts.step_runners

    @property
    def config(self) -> Config:
        """The config in force."""
        return self.loaded.config

    def show_steps(self) -> None:
        """Tell live tails which steps the pipelines have now."""
        steps = {
            name: [StepName(step.name, isinstance(step.step, Sink)) for step in pipeline.steps]
            for name, pipeline in self.parts.pipelines.items()
        }
        self._tail.arrange(steps, partial(pipeline_of, self.config))

    def _assemble(self, steps: Steps, keeper: Keeper) -> None:
        """Make the pipelines; events that are given up go to `keeper`."""
        self.parts = Assembly(
            self.config,
            steps,
            keeper,
            self.stopping,
            self._tail,
            spans=self._spans,
            deliver_gaps=self.config.gaps == "deliver",
            leadership=self.leadership,
        )
        self.show_steps()

    def _share_out(self, streams: int) -> None:
        """Divide the memory among this many streams."""
        self._share = share = Share.of(self.config.window, max(1, streams))
        for runner in self.runners:
            runner.window.max_events, runner.window.max_bytes = share.events, share.bytes

    async def _prune(self) -> None:
        """Delete old dead letters from time to time, forever."""
        while True:
            retention = self.config.state.retention
            try:
                await self.store.prune(retention.max_age, retention.max_count)
            except StateError as error:
                log.warning("old dead letters cannot be removed at present", error=str(error))
            await asyncio.sleep(_PRUNE_SECONDS)
