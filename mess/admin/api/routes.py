"""The operations of the API."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from mess.admin.api import letters, models, overview, pausing, records, settings
from mess.admin.api.access import Access
from mess.admin.api.openapi import document
from mess.admin.api.operation import Operation
from mess.admin.api.relay import ApiRelay
from mess.admin.json_response import json_response

PREFIX = "/api/v1"

OPERATIONS: Sequence[Operation] = (
    Operation("GET", "/status", "The relay at a glance", overview.status, models.Status, "open"),
    Operation("GET", "/streams", "The change streams", overview.streams, models.Streams, "open"),
    Operation("GET", "/pipelines", "The pipelines and their steps", overview.all_pipelines, models.Pipelines, "open"),
    Operation("GET", "/pauses", "What is paused", pausing.listed, models.Pauses, "open"),
    Operation(
        "POST",
        "/pause",
        "Pause a stream, a pipeline or a step",
        pausing.pause,
        models.Pauses,
        "change",
        body=models.PauseRequest,
        errors=(404,),
    ),
    Operation(
        "POST", "/resume", "End a pause", pausing.resume, models.Pauses, "change", body=models.Target, errors=(404,)
    ),
    Operation(
        "GET",
        "/backfills",
        "Backfills of existing documents",
        records.backfills,
        models.Backfills,
        "open",
        query=models.BackfillQuery,
    ),
    Operation(
        "POST",
        "/backfills/{id}",
        "Pause, resume or cancel a backfill",
        records.want_backfill,
        models.Backfill,
        "change",
        body=models.BackfillWish,
        errors=(404, 409),
    ),
    Operation("GET", "/gaps", "Changes that were not delivered", records.gaps, models.Gaps),
    Operation("GET", "/checkpoints", "Stored positions", records.checkpoints, models.Checkpoints, "open"),
    Operation("GET", "/dead-letters", "List dead letters", letters.listed, models.Letters, query=models.LetterQuery),
    Operation(
        "POST",
        "/dead-letters/replay",
        "Replay dead letters",
        letters.replay,
        models.LetterResult,
        "change",
        body=models.LetterAction,
        errors=(409,),
    ),
    Operation(
        "POST",
        "/dead-letters/discard",
        "Delete dead letters",
        letters.discard,
        models.LetterResult,
        "change",
        body=models.LetterAction,
        errors=(409,),
    ),
    Operation(
        "GET",
        "/dead-letters/{id}",
        "A dead letter with its event",
        letters.shown,
        models.WholeLetter,
        errors=(404, 409),
    ),
    Operation("GET", "/replays", "Replays of dead letters", letters.replays, models.Replays),
    Operation(
        "POST",
        "/try",
        "Put an event through a pipeline without sending anything",
        settings.try_event,
        models.Tried,
        "change",
        body=models.TryRequest,
    ),
    Operation("GET", "/config", "The effective config", settings.config, models.EffectiveConfig),
    Operation("POST", "/reload", "Read the config again", settings.reload, models.Reload, "change"),
)
"""All operations. A new one is an entry here, a function, and the models of its input and answer."""


def add_to(app: web.Application, relay: ApiRelay) -> None:
    """Add the API to the admin server's application."""
    access = Access(relay.loaded.config.admin)
    for operation in OPERATIONS:
        app.router.add_route(operation.method, PREFIX + operation.path, operation.handler(relay, access))

    async def described(request: web.Request) -> web.Response:
        return json_response(document(OPERATIONS))

    app.router.add_get(f"{PREFIX}/openapi.json", described)
