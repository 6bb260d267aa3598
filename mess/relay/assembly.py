"""Assembles an engine's parts from a config's steps and streams."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from mess.capture.arrangement import StreamStart
from mess.capture.source import Source
from mess.config.model import Config
from mess.relay.build import BuiltStep, Steps
from mess.relay.completion import Completion
from mess.relay.gaps import Keeper, StreamGaps
from mess.relay.giving_up import GivingUp
from mess.relay.pipeline import Pipeline
from mess.relay.router import Claim, ScopeRouter
from mess.relay.runner import StreamRunner, stream_runner
from mess.relay.sources import Share
from mess.relay.step_call import Process
from mess.relay.step_runner import StepRunner
from mess.relay.stopping import Stopping
from mess.relay.window import Window
from mess.steps.base import Sink
from mess.telemetry.observer import Observer

if TYPE_CHECKING:
    from mess.telemetry.spans import Spans


class Assembly:
    """Builds a relay's pipelines, and for each stream the runner that reads it and feeds its events into them.

    Events that are given up go to `keeper`; `observer` follows all events, and `spans` the deliveries of sinks. With
    `deliver_gaps`, gaps are reported to receivers.
    """

    def __init__(
        self,
        config: Config,
        steps: Steps,
        keeper: Keeper,
        stopping: Stopping,
        observer: Observer,
        *,
        spans: Spans | None = None,
        deliver_gaps: bool = False,
    ) -> None:
        self._spans = spans
        self._deliver_gaps = deliver_gaps
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
        giving_up = GivingUp(pipeline, name, spec.on_failure, self._keeper, observer)
        return StepRunner(
            step,
            spec,
            pipeline,
            name=name,
            stopping=self._stopping,
            give_up=giving_up.give_up,
            observer=observer,
            process=self._traced(pipeline, built),
        )

    def _traced(self, pipeline: str, built: BuiltStep) -> Process | None:
        step = built.step
        if self._spans is None or not isinstance(step, Sink):
            return None
        return self._spans.traced(step.process, step.span_attributes, pipeline=pipeline, step=built.name)

    def runner(self, source: Source, start: StreamStart, claim: Claim, share: Share) -> StreamRunner:
        """The runner that reads `source` and delivers the events that `claim` selects."""
        window = Window(share.events, share.bytes, source.position_after)
        completions = {name: Completion(window, self._observer.pipeline(name)) for name in self.pipelines}

        return stream_runner(
            source,
            window,
            completions=completions,
            router=partial(ScopeRouter, self._config, claim, start.position.time, self.pipelines),
            stopping=self._stopping,
            report=StreamGaps(start, source, claim, self._keeper, deliver=self._deliver_gaps).passed,
            observer=self._observer.stream(start.name),
        )
