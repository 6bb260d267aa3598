"""The operations of the API."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from mess.admin.api import events, letters, models, overview, pausing, records, settings
from mess.admin.api.access import Access
from mess.admin.api.openapi import document
from mess.admin.api.operation import Operation
from mess.admin.api.relay import ApiRelay
from mess.admin.api.shared_answers import SharedAnswers
from mess.admin.json_response import json_response

PREFIX = "/api/v1"

OPERATIONS: Sequence[Operation] = (
    Operation(
        "GET",
        "/status",
        "The relay at a glance",
        run=overview.status,
        answer=models.Status,
        allowed="open",
        shared=True,
    ),
    Operation(
        "GET",
        "/streams",
        "The change streams",
        run=overview.streams,
        answer=models.Streams,
        allowed="open",
        shared=True,
    ),
    Operation(
        "GET",
        "/pipelines",
        "The pipelines and their steps",
        run=overview.all_pipelines,
        answer=models.Pipelines,
        allowed="open",
        shared=True,
    ),
    Operation("GET", "/pauses", "What is paused", run=pausing.listed, answer=models.Pauses, allowed="open"),
    Operation(
        "POST",
        "/pause",
        "Pause a stream, a pipeline or a step",
        run=pausing.pause,
        answer=models.Pauses,
        allowed="change",
        active=True,
        body=models.PauseRequest,
        errors=(404,),
    ),
    Operation(
        "POST",
        "/resume",
        "End a pause",
        run=pausing.resume,
        answer=models.Pauses,
        allowed="change",
        active=True,
        body=models.Target,
        errors=(404,),
    ),
    Operation(
        "GET",
        "/backfills",
        "Backfills of existing documents",
        run=records.backfills,
        answer=models.Backfills,
        allowed="open",
        query=models.BackfillQuery,
    ),
    Operation(
        "POST",
        "/backfills/{id}",
        "Pause, resume or cancel a backfill",
        run=records.want_backfill,
        answer=models.Backfill,
        allowed="change",
        active=True,
        body=models.BackfillWish,
        errors=(404, 409),
    ),
    Operation("GET", "/gaps", "Changes that were not delivered", run=records.gaps, answer=models.Gaps),
    Operation(
        "GET", "/checkpoints", "Stored positions", run=records.checkpoints, answer=models.Checkpoints, allowed="open"
    ),
    Operation(
        "GET", "/dead-letters", "List dead letters", run=letters.listed, answer=models.Letters, query=models.LetterQuery
    ),
    Operation(
        "POST",
        "/dead-letters/replay",
        "Replay dead letters",
        run=letters.replay,
        answer=models.LetterResult,
        allowed="change",
        active=True,
        body=models.LetterAction,
        errors=(409,),
    ),
    Operation(
        "POST",
        "/dead-letters/discard",
        "Delete dead letters",
        run=letters.discard,
        answer=models.LetterResult,
        allowed="change",
        active=True,
        body=models.LetterAction,
        errors=(409,),
    ),
    Operation(
        "GET",
        "/dead-letters/{id}",
        "A dead letter with its event",
        run=letters.shown,
        answer=models.WholeLetter,
        errors=(404, 409),
    ),
    Operation(
        "GET",
        "/events",
        "Watch what becomes of events, as server-sent events",
        run=events.tail,
        answer=models.TailEvent,
        query=models.TailQuery,
        lasting=True,
        active=True,
    ),
    Operation("GET", "/events/{id}", "Where an event is", run=events.where, answer=models.EventPlace, active=True),
    Operation("GET", "/replays", "Replays of dead letters", run=letters.replays, answer=models.Replays),
    Operation(
        "POST",
        "/try",
        "Put an event through a pipeline without sending anything",
        run=settings.try_event,
        answer=models.Tried,
        allowed="change",
        active=True,
        body=models.TryRequest,
    ),
    Operation("GET", "/config", "The effective config", run=settings.config, answer=models.EffectiveConfig),
    Operation(
        "POST",
        "/reload",
        "Read the config again",
        run=settings.reload,
        answer=models.Reload,
        allowed="change",
    ),
)
"""All operations. A new one is an entry here, a function, and the models of its input and answer."""


def add_to(app: web.Application, relay: ApiRelay, access: Access) -> None:
    """Add the API to the admin server's application."""
    shared = SharedAnswers()
    for operation in OPERATIONS:
        app.router.add_route(operation.method, PREFIX + operation.path, operation.handler(relay, access, shared))

    async def end_tails(app: web.Application) -> None:
        relay.tail.close()

    app.on_shutdown.append(end_tails)

    async def described(request: web.Request) -> web.Response:
        return json_response(document(OPERATIONS))

    app.router.add_get(f"{PREFIX}/openapi.json", described)
