"""Assembles an engine's parts from a config's steps and streams."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakSet

from mess.capture.arrangement import StreamStart
from mess.capture.source import Source
from mess.config.model import Config
from mess.leadership import ALWAYS, Leadership
from mess.relay.build import BuiltStep, Steps
from mess.relay.completion import Completions
from mess.relay.gaps import Keeper, StreamGaps
from mess.relay.giving_up import GivingUp
from mess.relay.ha.leading import leading
from mess.relay.pipeline import Pipeline
from mess.relay.router import Claim, LaneGroups, ScopeRouter
from mess.relay.runner import StreamRunner, stream_runner
from mess.relay.sources import Share
from mess.relay.step_call import Process
from mess.relay.step_runner import StepRunner
from mess.relay.stopping import Stopping
from mess.relay.window import Window
from mess.steps.base import Sink
from mess.telemetry.observer import Observer, StepObserver

if TYPE_CHECKING:
    from mess.telemetry.spans import Spans


class Assembly:
    """Builds a relay's pipelines, and for each stream the runner that reads it and feeds its events into them.

    Events that are given up go to `keeper`; `observer` follows all events, and `spans` the deliveries of sinks. With
    `deliver_gaps`, gaps are reported to receivers. Deliveries obey `leadership`. `pipelines` are those in use.
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
        leadership: Leadership = ALWAYS,
    ) -> None:
        self._leadership = leadership
        self._spans = spans
        self._deliver_gaps = deliver_gaps
        self._config = config
        self._keeper = keeper
        self._stopping = stopping
        self._observer = observer
        self._step_observers: dict[tuple[str, str], StepObserver] = {}
        self._routers: WeakSet[ScopeRouter] = WeakSet()
        self.pipelines = {name: self.pipeline(name, entries) for name, entries in steps.items()}

    @property
    def step_runners(self) -> list[StepRunner]:
        """The runners of all steps."""
        return [runner for pipeline in self.pipelines.values() for runner in pipeline.steps]

    def pipeline(self, name: str, steps: Sequence[BuiltStep]) -> Pipeline:
        """A pipeline of these steps, which is not in use yet."""
        stopping = Stopping(self._stopping)
        runners = [self._step(name, each, stopping) for each in steps]
        return Pipeline(name, runners, stopping, [each.identity for each in steps])

    def change(self, config: Config, replaced: Mapping[str, Pipeline], removed: Iterable[str]) -> None:
        """From now on, find the routes of all streams by this config, with these pipelines in place of those with the
        same names."""
        self._config = config
        self.pipelines.update(replaced)
        for name in removed:
            self.pipelines.pop(name, None)
        for router in self._routers:
            router.change(config)

    def _step(self, pipeline: str, built: BuiltStep, stopping: Stopping) -> StepRunner:
        name, spec = built.name, built.spec
        observer = self._step_observers.get((pipeline, name))
        if observer is None:
            observer = self._step_observers[pipeline, name] = self._observer.step(pipeline, name)
        giving_up = GivingUp(pipeline, name, spec.on_failure, self._keeper, observer)
        return StepRunner(
            built.step,
            spec,
            pipeline,
            name=name,
            stopping=stopping,
            give_up=giving_up.give_up,
            observer=observer,
            process=self._traced(pipeline, built),
            leadership=self._leadership,
        )

    def _traced(self, pipeline: str, built: BuiltStep) -> Process | None:
        step = built.step
        if self._spans is None or not isinstance(step, Sink):
            return None
        return self._spans.traced(step.process, step.span_attributes, pipeline=pipeline, step=built.name)

    def runner(self, source: Source, start: StreamStart, claim: Claim, share: Share) -> StreamRunner:
        """The runner that reads `source` and delivers the events that `claim` selects."""
        window = Window(share.events, share.bytes, source.position_after)

        return stream_runner(
            source,
            window,
            completions=Completions(window, self._observer.pipeline),
            router=partial(self._router, start, claim),
            report=StreamGaps(
                start,
                source,
                claim,
                self._keeper,
                deliver=self._deliver_gaps,
                leading=partial(leading, self._leadership, self._stopping),
            ).passed,
            observer=self._observer.stream(start.name),
        )

    def _router(self, start: StreamStart, claim: Claim, groups: LaneGroups) -> ScopeRouter:
        router = ScopeRouter(self._config, claim, start.position.time, self.pipelines, groups)
        self._routers.add(router)
        return router
