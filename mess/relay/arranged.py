"""The streams of a relay and the coverage map, which says what each of them covers."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from bson import Timestamp

from mess.capture.arrangement import Arrangement, Reached, Recorded, StreamStart
from mess.capture.coverage import NEVER, Coverage, Covered, Rule, lookup, simplify
from mess.capture.region import Region
from mess.capture.tokens import position_after
from mess.event import Namespace, Position
from mess.relay.arranging import store_arrangement, why_stopped
from mess.relay.checkpointer import Progress
from mess.relay.router import Claim
from mess.relay.runner import StreamRunner
from mess.relay.window import Window
from mess.state.store import StateStore


class OpenStream(Protocol):
    """Creates the runner that reads a stream and delivers the events selected by `claim`."""

    def __call__(self, start: StreamStart, claim: Claim) -> StreamRunner: ...


@dataclass(slots=True, eq=False)
class Stream:
    """A stream of the relay. `stopped` says why it is no longer read; `runner` is None if it never began. `joins_at` is
    when it may next try to join the one that it is catching up with (`time.monotonic`), after `failed_joins`."""

    start: StreamStart
    progress: Progress
    runner: StreamRunner | None = None
    task: asyncio.Task[None] | None = None
    stopped: str | None = None
    joins_at: float = 0.0
    failed_joins: int = 0

    @property
    def name(self) -> str:
        """The stream's name."""
        return self.start.name

    @property
    def waits(self) -> str | None:
        """Why existing documents cannot be merged into it at present: changes come first."""
        if self.stopped is None and self.start.joins is not None:
            return f"it is still catching up with stream {self.start.joins}"
        return self.stopped


class ArrangedStreams:
    """The streams that are in force, and the `coverage` map.

    `arranging` is held while the map changes, from the computation of a new one until it is in force, so that none
    overwrites another.
    """

    def __init__(self, arrangement: Arrangement, store: StateStore, open_stream: OpenStream) -> None:
        self.coverage = arrangement.coverage
        self.streams: list[Stream] = []
        self.progress: list[Progress] = []
        self.arranging = asyncio.Lock()
        self._store = store
        self._open = open_stream
        for start in arrangement.starts:
            self.add(start)

    def add(self, start: StreamStart) -> Stream:
        """Add a stream, which is not read yet."""
        window = Window(1, 1, position_after)
        runner = None
        if not start.waits:
            runner = self._open(start, self.claim(start.name))
            window = runner.window
        progress = Progress(stream=start.name, plan=start.plan.hash, window=window, saved=start.position)
        stream = Stream(start, progress, runner)
        if start.waits:
            stream.stopped = why_stopped(start.name, start.position)
        self.streams.append(stream)
        self.progress.append(progress)
        return stream

    def remove(self, stream: Stream) -> None:
        """Remove a stream."""
        self.streams.remove(stream)
        self.progress.remove(stream.progress)

    def claim(self, stream: str) -> Claim:
        """What the stream with this name delivers."""

        def regions() -> list[Region]:
            return [rule.region for rule in self.coverage if rule.value.stream == stream]

        return Claim(partial(self.since, stream=stream), self.since, regions)

    def since(self, namespace: Namespace, stream: str | None = None) -> Timestamp | None:
        """The cluster time from which a collection's changes are delivered, by any stream or by the one with this name;
        None if they are not."""
        covered = lookup(self.coverage, namespace)
        return covered.time if covered is not None and stream in (None, covered.stream) else None

    def positions(self, without: Collection[Stream]) -> dict[str, tuple[str, Position]]:
        """The plan's hash and the position of all other streams that have begun."""
        reached = self.recorded().reached
        others = [stream.name for stream in self.streams if stream.runner is not None and stream not in without]
        return {name: (reached[name].plan, reached[name].position) for name in others}

    def recorded(self) -> Recorded:
        """The coverage map, and how far each stream is."""
        reached = {
            stream.name: Reached(stream.progress.plan, stream.progress.window.position or stream.start.position)
            for stream in self.streams
        }
        return Recorded(self.coverage, reached)

    def moved(self, stream: Stream, covered: Covered) -> Coverage:
        """The coverage map with everything that a stream covers set to `covered`."""
        return tuple(Rule(rule.region, covered) if rule.value.stream == stream.name else rule for rule in self.coverage)

    async def store(
        self,
        coverage: Coverage,
        positions: dict[str, tuple[str, Position]] | None = None,
        *,
        without: Stream | None = None,
    ) -> None:
        """Store a coverage map with the positions of all streams but one, and `positions` in addition."""
        found = self.positions(() if without is None else (without,))
        reached = self.recorded().reached
        folded = Recorded(coverage, {name: reached[name] for name in found}).folded()
        await store_arrangement(self._store, simplify(folded, NEVER), {**found, **(positions or {})})
