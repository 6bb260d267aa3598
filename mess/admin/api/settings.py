"""The config: show it, reload it, and try an event with it."""

from __future__ import annotations

import asyncio

from mess.admin.api import models
from mess.admin.api.operation import Call, Problem
from mess.config.effective import effective
from mess.relay.reload_result import ReloadResult
from mess.telemetry.logging import get_logger

log = get_logger("mess.admin")

_RELOAD_SECONDS = 7.0
"""Less than an operation may take."""


async def config(call: Call) -> models.EffectiveConfig:
    """The effective config, each value with where it was said."""
    loaded = call.relay.loaded
    # In a thread, since this takes a third of a second for 200 collections with pipelines of their own.
    values = await asyncio.to_thread(effective, loaded)
    return models.EffectiveConfig(file=loaded.document.file, values=values)


async def reload(call: Call) -> models.Reload:
    """Read the config again and apply what has changed. What is wrong with it is in the answer; the old one stays."""
    log.warning("reload requested", by=call.who)
    try:
        async with asyncio.timeout(_RELOAD_SECONDS):
            return shown_reload(await call.relay.reload())
    except TimeoutError:
        raise Problem(
            503, "the reload is still under way; the log and `last_reload` in /status will have its outcome"
        ) from None


def shown_reload(result: ReloadResult) -> models.Reload:
    """The result of a reload, as the API shows it."""
    return models.Reload(time=result.time, ok=result.ok, text=list(result.text))


async def try_event(call: Call) -> models.Tried:
    """Put an event through a pipeline without sending anything. The config's own functions really run."""
    if not call.payloads:
        raise Problem(403, "the config hides all documents (admin: {payloads: off})")
    return await call.relay.try_event(call.body.event, call.body.pipeline)
