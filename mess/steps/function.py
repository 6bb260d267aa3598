"""User functions as steps, and as the hook that replaces a whole pipeline."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mess.errors import Ambiguous, BatchError, DeliveryError, EndpointDown, Refused
from mess.event import Event
from mess.leadership import LAPSED, Leadership
from mess.steps.base import DEFAULT_LANES, Step

DEFAULT_TIMEOUT = 30.0
"""The maximum duration of one call of a user's function, in seconds."""


class _Run:
    """One mini-batch being processed by the function in another thread or loop, watched from the event loop. It ends
    early when it is `abandoned`, or when the process may not deliver any more."""

    def __init__(self, events: Sequence[Event], leadership: Leadership) -> None:
        self.events = events
        self.leadership = leadership
        self.results: list[Any] = []
        self.began: float | None = None
        self.abandoned = False

    def note(self, result: Any) -> bool:
        """Record one call's result or exception; return whether to continue."""
        if not self.abandoned:
            self.results.append(result)
            self.began = time.monotonic()
        return not (self.abandoned or self.leadership.lapsed)


class FunctionStep(Step):
    """Calls `function(input, config, context)` for each event. What it returns is the new body; None drops the event.

    The function may be sync or async. Neither runs in the relay's own event loop, which a blocking call would stop:
    sync functions run in a bounded thread pool, async ones in a separate event loop, both with one hop per mini-batch.
    An exception means that the event is refused, unless the function raises a DeliveryError. A call that takes longer
    than `timeout` seconds is Ambiguous. When the process may not deliver any more, a call that is under way is not
    stopped, but none begins.

    With `hook`, the function is called with `(input, context)` and its result is ignored.
    """

    lanes = DEFAULT_LANES

    def __init__(
        self,
        function: Callable[..., Any],
        config: Mapping[str, Any],
        context: Mapping[str, Any],
        *,
        timeout: float = DEFAULT_TIMEOUT,
        hook: bool = False,
    ) -> None:
        self._function = function
        self._arguments = (context,) if hook else (config, context)
        self._hook = hook
        self._timeout = timeout
        self._async = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)
        self._pool: ThreadPoolExecutor | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self) -> None:
        """Start the thread pool or the functions' event loop."""
        if self._async:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=_turn, args=(self._loop,), name="mess-function", daemon=True).start()
        else:
            self._pool = ThreadPoolExecutor(self.lanes, thread_name_prefix="mess-function")

    async def close(self) -> None:
        """Shut down the threads, without waiting for a call that hangs."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)

    async def process(self, events: Sequence[Event]) -> Sequence[Event]:
        """See the class."""
        run = _Run(events, self.leadership)
        future: Future[None]
        if self._loop is not None:
            future = asyncio.run_coroutine_threadsafe(self._run_async(run), self._loop)
        elif self._pool is not None:
            future = self._pool.submit(self._run_sync, run)
        else:
            raise AssertionError("the step is not open")
        await self._watch(run, asyncio.wrap_future(future))
        return self._outcome(run)

    def _run_sync(self, run: _Run) -> None:
        run.began = time.monotonic()
        for event in run.events:
            try:
                result = self._function(_input(event.body), *self._arguments)
                if inspect.iscoroutine(result):
                    result = asyncio.run(_awaited(result))
            except BaseException as error:  # a user's sys.exit() must not silently end a worker
                result = error
            if not run.note(result):
                return

    async def _run_async(self, run: _Run) -> None:
        run.began = time.monotonic()
        for event in run.events:
            result: Any
            try:
                result = await self._function(_input(event.body), *self._arguments)
            except BaseException as error:
                if run.abandoned:
                    raise  # cancelled by `_watch`, not by the function
                result = error
            if not run.note(result):
                return

    async def _watch(self, run: _Run, future: asyncio.Future[None]) -> None:
        while not future.done():
            # While it waits for a thread, the function has not started and cannot be late.
            left = self._timeout if run.began is None else run.began + self._timeout - time.monotonic()
            if left <= 0:
                run.abandoned = True
                future.cancel()
                return
            await asyncio.wait({future}, timeout=left)

    def _outcome(self, run: _Run) -> Sequence[Event]:
        events, results = run.events, list(run.results)
        passed: list[Event] = []
        errors: dict[int, Exception] = {}
        for index, (event, result) in enumerate(zip(events, results, strict=False)):
            if isinstance(result, BaseException):
                errors[index] = _failure(result)
            elif self._hook:
                passed.append(event)
            elif isinstance(result, dict):
                event.body = result
                passed.append(event)
            elif result is not None:
                errors[index] = Refused(
                    f"the function returned {type(result).__name__}; it must return the new body (a dict), or None to "
                    "drop the event"
                )
        if len(results) < len(events):
            late: DeliveryError = Ambiguous(f"the function did not return within {self._timeout:g} s")
            errors[len(results)] = late if run.abandoned else EndpointDown(f"not called: {LAPSED}")
        if errors:
            raise BatchError(errors, passed, events[len(results) + 1 :])
        return passed


def _input(value: Any) -> Any:
    """The input of a function: copies of containers, since it may modify them, and dates with their time zone."""
    if isinstance(value, dict):
        return {key: _input(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_input(item) for item in value]
    if value.__class__ is datetime and value.tzinfo is None:
        return value.replace(tzinfo=timezone.utc)
    return value


def _turn(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
    return await coroutine


def _failure(error: BaseException) -> DeliveryError:
    if isinstance(error, DeliveryError):
        return error
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    refused = Refused(f"{type(error).__name__}: {error}{where}")
    refused.__cause__ = error
    return refused
