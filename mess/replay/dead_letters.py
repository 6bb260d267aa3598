"""Delivers dead letters again, through their pipeline, starting at the step that failed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from bson import Timestamp

from mess.capture.source import Batch
from mess.config.model import Config
from mess.config.scope import orders_by_value, resolve
from mess.errors import EndpointDown
from mess.event import Namespace
from mess.leadership import ALWAYS, Leadership
from mess.relay.build import BuiltStep, Steps
from mess.relay.completion import Completion
from mess.relay.dispatch import Route
from mess.relay.engine import Engine
from mess.relay.lane import Lane
from mess.relay.narrowing import narrow
from mess.relay.pipeline import Pipeline
from mess.relay.router import LaneGroups, ordering
from mess.relay.runner import FixedStreams, StreamRunner, stream_runner
from mess.relay.step_runner import StepRunner
from mess.relay.stopping import Stopping
from mess.relay.window import Window
from mess.replay.letter_results import LetterResults, Report, Told
from mess.replay.letter_source import Due, LetterSource
from mess.replay.routes import Kept, Way, Ways
from mess.state.letters import DamagedLetter
from mess.state.records import Pointer
from mess.state.store import StateStore
from mess.telemetry.observer import StepObserver, StreamObserver


class Replayer:
    """Replays dead letters of `store` through the pipelines of a config, each on the way given by `ways`.

    The steps work as they do for a stream, with their `retry`, `rate_limit` and `concurrency`, except that events never
    wait for a sink that is down: their letters are left.

    A letter is deleted only after its event was delivered: if it is interrupted in between, the event is delivered
    twice, with the same id, and never lost. It may run beside the relay, and takes over nothing from it. Inside a
    relay, deliveries obey its `leadership`.
    """

    def __init__(
        self, config: Config, steps: Steps, store: StateStore, ways: Ways, *, leadership: Leadership = ALWAYS
    ) -> None:
        self._config = config
        self._steps = steps
        self._store = store
        self._ways = ways
        self._leadership = leadership
        self._stopping: Stopping | None = None
        self.stopping = False

    def stop(self) -> None:
        """Make `run` return after the deliveries in flight."""
        self.stopping = True
        if self._stopping is not None:
            self._stopping.set()

    async def way(self, pointer: Pointer) -> Way:
        """How a letter would be replayed with the current config.

        Raises Kept if it cannot be, StateError if this requires reading the letter and that fails.
        """
        try:
            return self._ways.of(pointer)
        except Kept:
            # A renamed collection may be watched under its new name only.
            if pointer.operation != "rename" or not pointer.pipeline:
                raise
            letter = await self._store.dead_letter(pointer.id)
            if letter is None:
                raise
            return self._ways.of(pointer, letter.event.get("to"))

    async def run(self, pointers: Sequence[Pointer], told: Told = lambda count: None) -> Report:
        """Replay these letters, one pipeline after another, in this order within each.

        A pipeline whose sink is down is left immediately, with its letters unchanged. If only one of its destinations
        is down, only the letters for that one are left. Raises StateError if the letters cannot be read or written,
        ConfigError or another MessError if a step cannot be opened.
        """
        report = Report()
        queues: dict[str, list[Due]] = {}
        for pointer in pointers:
            try:
                way = await self.way(pointer)
            except (Kept, DamagedLetter) as reason:
                report.kept[str(reason)] += 1
                told(1)
            else:
                queues.setdefault(way.pipeline, []).append(Due(pointer, way))
        for name, due in queues.items():
            if self.stopping:
                report.interrupted += len(due)
            else:
                await self._replay(name, due, report, told)
        return report

    async def _replay(self, name: str, due: Sequence[Due], report: Report, told: Told) -> None:
        self._stopping = stopping = Stopping()
        results = LetterResults(name, self._store, report, told=told, ended=stopping.set)
        source = LetterSource(name, due, self._store, results, [step.name for step in self._steps[name]])
        try:
            delivery = _Delivery(self._config, name, results, stopping, self._leadership)
            await delivery.run(source, self._steps[name])
        except EndpointDown as error:  # a step could not be opened
            results.sink_down = error
        finally:
            await results.close()
        if left := results.unfinished + source.unread:
            if results.sink_down is not None:
                report.leave(name, results.sink_down, left)
            else:
                report.interrupted += left


class _Delivery:
    """The engine that delivers letters through one pipeline."""

    def __init__(
        self, config: Config, pipeline: str, results: LetterResults, stopping: Stopping, leadership: Leadership
    ) -> None:
        self._leadership = leadership
        self._config = config
        self._name = pipeline
        self._results = results
        self._stopping = stopping

    async def run(self, source: LetterSource, steps: Sequence[BuiltStep]) -> None:
        runners = [self._step(position, step) for position, step in enumerate(steps)]
        pipeline = Pipeline(self._name, runners, self._stopping)
        narrow(pipeline)
        grace = self._config.shutdown_grace
        engine = Engine({self._name: pipeline}, self._results, self._stopping, grace=lambda: grace)
        await engine.run(FixedStreams([self._stream(source, pipeline)]))

    def _step(self, position: int, built: BuiltStep) -> StepRunner:
        name, spec, step, _ = built
        results, carries = self._results, step.carries
        return StepRunner(
            step,
            spec,
            self._name,
            name=name,
            stopping=self._stopping,
            give_up=results.give_up(name),
            observer=StepObserver(),
            carries=lambda event: results.is_due(event, position) and (carries is None or carries(event)),
            leaving=results,
            leadership=self._leadership,
        )

    def _stream(self, source: LetterSource, pipeline: Pipeline) -> StreamRunner:
        limits = self._config.window
        window = Window(limits.max_events, limits.max_bytes, source.position_after)
        return stream_runner(
            source,
            window,
            completions={pipeline.name: Completion(window, self._results)},
            router=partial(_OneWay, self._config, pipeline),
            report=_as_it_is,
            observer=StreamObserver(),
        )


class _OneWay:
    """A `Router` through one pipeline, for all namespaces."""

    forks = False

    def __init__(self, config: Config, pipeline: Pipeline, groups: LaneGroups) -> None:
        self._config = config
        self._pipeline = pipeline
        self._groups = groups
        self.by_value = orders_by_value(config)

    @property
    def lanes(self) -> Sequence[Lane]:
        return self._groups.lanes

    def route(self, namespace: Namespace) -> Route:
        options = resolve(self._config, *namespace)
        order = "document" if options is None else ordering(options.order)
        concurrency = None if options is None else options.concurrency
        return Route(self._groups.of(self._pipeline, order, concurrency), order, None)

    def route_gap(self, affected: Namespace) -> Route:
        """See `mess.relay.dispatch.Router`."""
        return self.route(affected)

    def route_rename(self, source: Namespace, target: Namespace, time: Timestamp | None) -> Route:
        return self.route(source)


async def _as_it_is(batch: Batch) -> Batch:
    """A source of letters reports nothing but events."""
    return batch
