"""Dead letters: list, show, replay and discard them."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

import orjson

from mess.admin.api import models
from mess.admin.api.operation import Call, Problem
from mess.admin.api.relay import LetterReplays
from mess.errors import ConfigError
from mess.formats import bson_json
from mess.state.letters import DamagedLetter
from mess.state.records import DeadLetter, Listed, Pointer, Wanted
from mess.telemetry.logging import get_logger

log = get_logger("mess.admin")

_SHOWN_BYTES = 1024 * 1024
_HIDDEN = "hidden: the config says admin: {payloads: off}"


async def listed(call: Call) -> models.Letters:
    """A page of dead letters, newest first."""
    query, store = call.query, call.store
    wanted = _wanted(query, call)
    found = await store.page(wanted, _after(query.after), query.limit + 1)
    page, more = found[: query.limit], len(found) > query.limit
    return models.Letters(
        letters=[models.Letter(**_head(letter, call.payloads)) for letter in page],
        total=await store.count_dead_letters(wanted),
        next=_place(page[-1]) if more else None,
    )


async def shown(call: Call) -> models.WholeLetter:
    """A dead letter with its event, body and last attempts."""
    id_ = call.part("id")
    try:
        letter = await call.store.dead_letter(id_) if id_.isascii() else None
    except DamagedLetter as error:
        raise Problem(409, str(error)) from None
    if letter is None:
        raise Problem(404, f"there is no dead letter {id_}")
    fits = letter.size <= _SHOWN_BYTES and call.payloads
    event, body = await asyncio.to_thread(_readable, letter) if fits else (None, None)
    return models.WholeLetter(
        **_head(letter, call.payloads),
        event=event,
        body=body,
        history=[
            models.Attempt(
                time=each.time,
                error=each.error,
                reason=each.reason if call.payloads else _HIDDEN,
                status=each.status,
                response=each.response if call.payloads else None,
            )
            for each in letter.history
        ],
        size=letter.size,
        complete=fits,
        backfill=letter.backfill,
    )


async def replay(call: Call) -> models.LetterResult:
    """Replay dead letters in the background; `replays` shows the progress."""
    _, pointers = await _chosen(call)
    replays = _replays(call)
    ways = await replays.ways(pointers)
    begun = None
    if pointers and not call.body.dry_run:
        if replays.running:
            raise Problem(409, "a replay is running; wait until it has ended")
        log.warning("replay of dead letters requested", count=len(pointers), by=call.who)
        begun = replays.start(pointers)
    return models.LetterResult(matching=len(pointers), by_pipeline=dict(ways), done=0, replay=begun)


async def discard(call: Call) -> models.LetterResult:
    """Delete dead letters for good."""
    wanted, pointers = await _chosen(call)
    by_pipeline = dict(Counter(pointer.pipeline for pointer in pointers))
    done = 0
    if pointers and not call.body.dry_run:
        log.warning("deletion of dead letters requested", count=len(pointers), by=call.who)
        done = await call.store.delete_pointed(wanted, pointers)
    return models.LetterResult(matching=len(pointers), by_pipeline=by_pipeline, done=done, replay=None)


async def replays(call: Call) -> models.Replays:
    """The replays that run, and the last ones that ran."""
    role = call.relay.role
    found = [] if role is not None and role.name == "standby" else list(_replays(call).all)
    if not call.payloads:
        found = [each.model_copy(update={"reasons": {_HIDDEN: each.kept} if each.kept else {}}) for each in found]
    return models.Replays(replays=found)


def _replays(call: Call) -> LetterReplays:
    if (found := call.relay.replays) is None:
        raise Problem(503, f"the relay is not running yet: {call.relay.starting or 'starting'}")
    return found


async def _chosen(call: Call) -> tuple[Wanted, Sequence[Pointer]]:
    action: models.LetterAction = call.body
    wanted = _wanted(action.filter, call)
    if wanted.everything != action.all:
        raise Problem(400, "choose dead letters by a filter, or all of them by `all`; not both")
    pointers = await call.store.pointers(wanted)
    if action.expected is not None and len(pointers) != action.expected:
        raise Problem(409, f"{len(pointers)} dead letters match now, not {action.expected}; look again")
    return wanted, pointers


def _wanted(filter_: models.LetterFilter, call: Call) -> Wanted:
    if filter_.reason is not None and not call.payloads:
        raise Problem(403, f"reason: reasons are {_HIDDEN}")  # the number of matches would tell what is in them
    try:
        return Wanted(
            pipeline=filter_.pipeline,
            step=filter_.step,
            namespace=filter_.namespace,
            since=filter_.since,
            until=filter_.until,
            reason=filter_.reason,
            ids=filter_.ids,
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _head(letter: DeadLetter, payloads: bool) -> dict[str, Any]:
    return {
        "id": letter.id,
        "pipeline": letter.pipeline,
        "step": letter.step,
        "namespace": str(letter.namespace),
        "operation": letter.operation,
        "key": _json(letter.key) if payloads else None,
        "reason": letter.reason if payloads else _HIDDEN,
        "error": letter.error,
        "attempts": letter.attempts,
        "time": letter.time,
    }


def _readable(letter: DeadLetter) -> tuple[Any, Any]:
    return _json(letter.event), _json(letter.body)


def _json(value: Any) -> Any:
    return orjson.loads(bson_json.relaxed(value))


def _place(letter: DeadLetter) -> str:
    return f"{letter.time.timestamp() * 1000:.0f}:{letter.id}"


def _after(place: str | None) -> Listed | None:
    """The inverse of `_place`."""
    if place is None:
        return None
    millis, _, id_ = place.partition(":")
    try:
        return Listed(datetime.fromtimestamp(int(millis) / 1000, timezone.utc), id_)
    except (ValueError, OverflowError, OSError):
        raise Problem(400, f"after: {place!r} is not what `next` said") from None
