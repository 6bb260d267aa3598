"""Replaces pipelines while events flow: what is unfinished continues in the new ones, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

from mess.cancellation import within
from mess.config.model import Config
from mess.relay.assembly import Assembly
from mess.relay.lane import Lane, finish
from mess.relay.pipeline import Pipeline
from mess.relay.runner import StreamRunner
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_CLOSE_SECONDS = 10.0


class Swap:
    """The replacement of pipelines (`new`, which are open) and the end of those that are `removed`.

    The methods are called in their order. Between `begin` and `end`, events for these pipelines wait.
    """

    def __init__(self, parts: Assembly, new: Mapping[str, Pipeline], removed: Collection[str]) -> None:
        self._parts = parts
        self._new = new
        self._names = {*new, *removed}
        self._removed = removed
        self._old = [parts.pipelines[name] for name in self._names if name in parts.pipelines]
        self._runners: Sequence[StreamRunner] = ()
        self._lanes: list[Lane] = []

    def begin(self, config: Config, runners: Sequence[StreamRunner], stopped: Sequence[StreamRunner] = ()) -> None:
        """From now on, the new pipelines collect events, and the old ones begin no more deliveries. `runners` are those
        of the streams that go on, `stopped` of those that do not read any more."""
        for pipeline in self._new.values():
            pipeline.held = True
        self._parts.change(config, self._new, self._removed)
        self._runners = runners
        for runner in runners:
            self._lanes += runner.retire(self._names)
        for runner in stopped:
            self._lanes += runner.lanes
        for pipeline in self._old:
            pipeline.stopping.set()

    async def drained(self, grace: float) -> int:
        """Wait for deliveries in flight, and close the old pipelines. Those that take longer than `grace` seconds are
        cancelled, and will be repeated; returns how many."""
        late = await finish(self._lanes, grace)
        for pipeline in self._old:
            for runner in pipeline.steps:
                runner.retire()
        # A client that is still open may send what it holds behind what the new one sends.
        await asyncio.gather(*(_close(pipeline) for pipeline in self._old))
        return late

    def end(self, running: Sequence[StreamRunner]) -> None:
        """Let the new pipelines begin, with what the old ones have not finished. `running` are the runners of all
        streams by now."""
        for runner in self._runners:
            runner.resume_retired()
        for pipeline in self._new.values():
            pipeline.held = False
            pipeline.check()
        for runner in running:
            runner.wake()


async def _close(pipeline: Pipeline) -> None:
    try:
        await within(_CLOSE_SECONDS, pipeline.close())
    except Exception as error:
        log.warning("a replaced pipeline could not be closed", pipeline=pipeline.name, error=error)
