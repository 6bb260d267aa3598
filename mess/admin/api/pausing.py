"""Pauses: list, add and remove them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import overload

from mess.admin.api import models
from mess.admin.api.operation import Call, Problem
from mess.admin.api.relay import ApiRelay
from mess.config.scope import pipelines
from mess.relay.build import stage_names
from mess.relay.pauses import Pauses
from mess.state.pauses import Pause, Target
from mess.telemetry.logging import get_logger

log = get_logger("mess.admin")


async def listed(call: Call) -> models.Pauses:
    """What is paused."""
    if (role := call.relay.role) is not None and role.name == "standby":
        return _shown(await call.store.pauses(), partial(_configured, call.relay))
    pauses = _pauses(call)
    return _shown(pauses.known, pauses.applies)


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


def _shown(pauses: Sequence[Pause], applies: Callable[[Target], bool]) -> models.Pauses:
    return models.Pauses(
        pauses=[
            models.Paused(
                target=models.Target(
                    stream=pause.target.stream, pipeline=pause.target.pipeline, step=pause.target.step
                ),
                pause=pause_shown(pause),
                applies=applies(pause.target),
            )
            for pause in pauses
        ]
    )


def _configured(relay: ApiRelay, target: Target) -> bool:
    """Whether the config has such a stream, pipeline or step: a standby runs none of them."""
    if target.stream is not None:
        return any(plan.name == target.stream for plan in relay.plans)
    steps = {each.name: stage_names(each.steps) for each in pipelines(relay.loaded.config)}
    return target.pipeline in steps and (target.step is None or target.step in steps[target.pipeline])


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
