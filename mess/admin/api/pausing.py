"""Pauses: list, add and remove them."""

from __future__ import annotations

from typing import overload

from mess.admin.api import models
from mess.admin.api.operation import Call, Problem
from mess.relay.pauses import Pauses
from mess.state.pauses import Pause, Target
from mess.telemetry.logging import get_logger

log = get_logger("mess.admin")


async def listed(call: Call) -> models.Pauses:
    """What is paused."""
    pauses = _pauses(call)
    return models.Pauses(
        pauses=[
            models.Paused(
                target=models.Target(
                    stream=pause.target.stream, pipeline=pause.target.pipeline, step=pause.target.step
                ),
                pause=pause_shown(pause),
                applies=pauses.applies(pause.target),
            )
            for pause in pauses.known
        ]
    )


async def pause(call: Call) -> models.Pauses:
    """Pause a stream, a pipeline or a step."""
    pauses, target = _pauses(call), _target(call.body)
    if not pauses.applies(target):
        raise Problem(404, f"the relay has no {target}")
    log.warning("pause requested", what=str(target), by=call.who, reason=call.body.reason)
    await pauses.pause(Pause.now(target, call.who, call.body.reason))
    return await listed(call)


async def resume(call: Call) -> models.Pauses:
    """End a pause."""
    pauses, target = _pauses(call), _target(call.body)
    log.info("resumption requested", what=str(target), by=call.who)
    if not await pauses.resume(target):
        raise Problem(404, f"{target} is not paused")
    return await listed(call)


@overload
def pause_shown(pause: Pause) -> models.Pause: ...
@overload
def pause_shown(pause: Pause | None) -> models.Pause | None: ...
def pause_shown(pause: Pause | None) -> models.Pause | None:
    """A pause, as the API shows it."""
    return None if pause is None else models.Pause(since=pause.since, by=pause.by, reason=pause.reason)


def _pauses(call: Call) -> Pauses:
    if (pauses := call.relay.pauses) is None:
        raise Problem(503, f"the relay is not running yet: {call.relay.starting or 'starting'}")
    return pauses


def _target(body: models.Target) -> Target:
    try:
        return Target(stream=body.stream, pipeline=body.pipeline, step=body.step)
    except ValueError as error:
        raise Problem(400, str(error)) from None
