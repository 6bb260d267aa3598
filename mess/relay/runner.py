"""One stream's way from its source to its lanes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mess.capture.source import Batch, Source
from mess.relay.dispatch import Dispatcher
from mess.relay.lane import Lane
from mess.relay.window import Window


class StreamRunner:
    """Reads batch after batch and dispatches each; the source itself reads ahead meanwhile.

    `report` records what a batch has to tell besides its events, before the position behind it counts. `finished` is
    set when the source has come to its end, and all that it gave is done. `name` is the stream's.
    """

    def __init__(
        self,
        source: Source,
        window: Window,
        dispatcher: Dispatcher,
        lanes: Callable[[], list[Lane]],
        report: Callable[[Batch], Awaitable[None]],
        counted: Callable[[int], None],
        name: str = "",
    ) -> None:
        self.name = name
        self.source = source
        self.window = window
        self.lanes = lanes
        self._dispatcher = dispatcher
        self._report = report
        self._counted = counted
        self.finished = False

    async def run(self) -> None:
        """Go on until cancelled, or to the source's end. Raises SourceError when it cannot be read any more."""
        while (batch := await self.source.read()) is not None:
            if batch.unreadable or batch.lost:
                await self._report(batch)
            self._counted(len(batch.events))
            await self._dispatcher.dispatch(batch)
        await self.window.drained()
        self.finished = True
