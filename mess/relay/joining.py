"""Joins streams that have caught up with the streams that they belong to."""

from __future__ import annotations

import asyncio
import time

from mess.cancellation import cancel
from mess.capture.coverage import Covered
from mess.capture.tokens import has_passed
from mess.options.backoff import backoff
from mess.relay.arranged import ArrangedStreams, Stream
from mess.relay.arranging import written
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_NEAR = 2  # seconds of cluster time within which it may join
_REPLY = 6.0  # seconds; an idle stream's reply takes up to five
_JOIN = 0.5  # seconds for which the other stream may be held up
_JOIN_FIRST, _JOIN_AGAIN = 0.5, 30.0  # seconds between two attempts to join


class Joining:
    """Joins streams of `arranged`."""

    def __init__(self, arranged: ArrangedStreams) -> None:
        self._arranged = arranged

    async def join_if_near(self, stream: Stream) -> None:
        """Let a stream join the one that it is catching up with, if it is near enough. Raises StateError."""
        main = next((each for each in self._arranged.streams if each.name == stream.start.joins), None)
        if main is None or main.stopped or stream.stopped or main.runner is None or stream.runner is None:
            return
        done, read = stream.progress.window.position, main.runner.source.position
        if done is None or done.time is None or read.time is None or done.time.time + _NEAR < read.time.time:
            return
        if (
            time.monotonic() < stream.joins_at or self._arranged.arranging.locked()
        ):  # by a reload, which may take seconds
            return
        main.runner.pause()
        try:
            if not await self._is_past(stream, main):
                # Its sink may be slow: the other stream must not be held up repeatedly.
                stream.failed_joins += 1
                stream.joins_at = time.monotonic() + backoff(
                    stream.failed_joins, first=_JOIN_FIRST, multiplier=2, cap=_JOIN_AGAIN
                )
            else:
                try:
                    await self._join(stream, main)
                except BaseException:
                    stream.runner.resume()
                    raise
        finally:
            main.runner.resume()

    async def _is_past(self, stream: Stream, main: Stream) -> bool:
        """Whether a stream is done with every change that has been read by the stream it joins; continues reading if
        not."""
        assert main.runner is not None
        assert stream.runner is not None
        try:
            async with asyncio.timeout(_REPLY):
                await main.runner.paused()
            deadline = time.monotonic() + _JOIN
            target = main.runner.source.position
            while time.monotonic() < deadline:
                done = stream.progress.window.position
                if done is not None and has_passed(done, target):
                    stream.runner.pause()
                    async with asyncio.timeout(_JOIN):
                        await stream.runner.paused()
                        await stream.runner.window.drained()
                    return True
                await asyncio.sleep(0.01)
        except TimeoutError:
            pass
        stream.runner.resume()
        return False

    async def _join(self, stream: Stream, main: Stream) -> None:
        assert main.runner is not None
        assert stream.runner is not None
        done = stream.progress.window.position
        assert done is not None
        async with self._arranged.arranging:
            if stream not in self._arranged.streams or main not in self._arranged.streams:
                return
            coverage = self._arranged.moved(stream, Covered(main.name, done.time))
            await self._arranged.store(coverage, without=stream)
            self._arranged.coverage = coverage
            self._arranged.remove(stream)
            main.runner.forget_routes()
        if stream.task is not None:
            await cancel(stream.task)
        await stream.runner.source.close()
        log.info("stream has caught up", stream=stream.name, joins=main.name, at=written(done.time))
