"""Assembles an engine's parts from a config's steps and streams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mess.capture.arrangement import StreamStart
from mess.capture.source import Batch, Source
from mess.capture.stream import BRIEF_WAIT_MS, IDLE_WAIT_MS, JOINING_WAIT_MS, REPLY_BYTES, REPLY_EVENTS, ChangeStream
from mess.config.model import Config, WindowOptions
from mess.relay.build import BuiltStep, Steps
from mess.relay.completion import Completion
from mess.relay.dispatch import Dispatcher
from mess.relay.gaps import Keeper, record
from mess.relay.giving_up import GivingUp
from mess.relay.lane import Lane
from mess.relay.pipeline import Pipeline
from mess.relay.router import Claim, ScopeRouter
from mess.relay.runner import StreamRunner
from mess.relay.step_runner import StepRunner
from mess.relay.stopping import Stopping
from mess.relay.window import Window
from mess.telemetry.observer import Observer


class Assembly:
    """Builds a relay's pipelines, and for each stream the runner that reads it and feeds its events into them.

    Events that are given up go to `keeper`; `observer` is told what happens to all events.
    """

    def __init__(self, config: Config, steps: Steps, keeper: Keeper, stopping: Stopping, observer: Observer) -> None:
        self._config = config
        self._keeper = keeper
        self._stopping = stopping
        self._observer = observer
        self.pipelines = {name: self._pipeline(name, entries) for name, entries in steps.items()}
        self.step_runners = [runner for pipeline in self.pipelines.values() for runner in pipeline.steps]

    def _pipeline(self, pipeline: str, steps: Sequence[BuiltStep]) -> Pipeline:
        return Pipeline(pipeline, [self._step(pipeline, each) for each in steps])

    def _step(self, pipeline: str, built: BuiltStep) -> StepRunner:
        name, spec, step = built
        observer = self._observer.step(pipeline, name)
        giving_up = GivingUp(pipeline, name, spec.on_failure, self._keeper.add_dead_letters, observer)
        return StepRunner(
            step,
            spec,
            pipeline,
            name=name,
            stopping=self._stopping,
            give_up=giving_up.give_up,
            observer=observer,
        )

    def runner(
        self,
        client: Any,
        start: StreamStart,
        claim: Claim,
        fail: Callable[[BaseException], None],
        *,
        streams: int,
        bounded: Callable[[Source], Source] | None = None,
    ) -> StreamRunner:
        """The runner of one of `streams` streams. It delivers the events that `claim` selects, forever, or until the
        end set by `bounded` (in a replay). It calls `fail` with the error that ends one of its lanes."""
        room, reply_events, reply_bytes = _share(self._config.window, streams)
        window = Window(*room)
        stream = start.plan
        changes = ChangeStream(
            client,
            stream,
            start.position,
            latest=start.latest,
            on_history_lost=self._config.on_history_lost,
            reply_events=reply_events,
            reply_bytes=reply_bytes,
            wait_ms=BRIEF_WAIT_MS if bounded else JOINING_WAIT_MS if start.joins else IDLE_WAIT_MS,
        )
        source: Source = bounded(changes) if bounded else changes
        completions = {name: Completion(window, self._observer.pipeline(name)) for name in self.pipelines}

        def lane(pipeline: Pipeline) -> Lane:
            return Lane(
                pipeline,
                completions[pipeline.name],
                stopping=self._stopping,
                wants_more=dispatcher.wants_more,
                failed=fail,
            )

        router = ScopeRouter(self._config, claim, start.position.time, self.pipelines, lane, window.max_events)
        dispatcher = Dispatcher(window, router)

        async def report(batch: Batch) -> None:
            await record(batch, stream, self._keeper)

        observer = self._observer.stream(stream.name)
        return StreamRunner(source, window, dispatcher, lambda: router.lanes, report, observer, stream.name)


def _share(bounds: WindowOptions, streams: int) -> tuple[tuple[int, int], int, int]:
    """One stream's share of the memory: its window's events and bytes, and the size of a reply.

    Besides the window's contents, memory holds one reply that waits for room, and about as much that is read ahead.
    """
    events, size = bounds.max_events // streams, bounds.max_bytes // streams
    # A small reply costs nearly as much as a large one.
    reply_events, reply_bytes = max(1, min(REPLY_EVENTS, events // 4)), max(1, min(REPLY_BYTES, size // 4))
    return (max(1, events - 2 * reply_events), max(1, size - 2 * reply_bytes)), reply_events, reply_bytes
