"""What MESS's queue step writes: `format: event` and `format: cloudevents`, in every `json`."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from bson import Timestamp

from mess.capture.kafka.formats.extended_json import extended, moment
from mess.capture.kafka.formats.reading import Headers, NotReadable, Reading
from mess.ids import is_id

ID = "mess-id"
REPLACED = (
    "an earlier step of the relay that wrote it has replaced the change event (such as field-map or function). Take "
    "that step out of the pipeline before the queue step, and put it into this relay's pipeline"
)
_LOOKED_UP = {"exact": False, "lookup": True}


def given_id(headers: Headers) -> str | None:
    """The event's id in a record's headers; None if they have none."""
    text = _text(headers, ID)
    return text if is_id(text) else None


def marked(change: dict[str, Any], headers: Headers, id_: str | None) -> Reading:
    """A change event with what the headers say about it."""
    if len(headers) < 3:  # the id and the content type
        return Reading(change, id_)
    return Reading(
        change,
        id_,
        looked_up=_LOOKED_UP.get(_text(headers, "mess-document")),
        backfill=_text(headers, "mess-backfill"),
        replay=headers.get("mess-replay") == b"true",
    )


def event(body: dict[str, Any], headers: Headers) -> Reading:
    """The change event in a record with `format: event`."""
    return marked(typed(body), headers, given_id(headers))


def cloud_event(body: dict[str, Any], headers: Headers) -> Reading:
    """The change event in a CloudEvent. Its attributes say what the headers say, should these have been lost.

    Raises NotReadable.
    """
    change = body.get("data")
    if change.__class__ is not dict or "operationType" not in change:
        raise NotReadable(f"its CloudEvent has no change event as data: {REPLACED}")
    found = marked(typed(change), headers, given_id(headers))
    id_, backfill = body.get("id"), body.get("messbackfill")
    return found._replace(
        id=found.id or (id_ if id_.__class__ is str and is_id(id_) else None),
        looked_up=_LOOKED_UP.get(str(body.get("messdocument"))),
        backfill=backfill if backfill.__class__ is str else found.backfill,
    )


def typed(change: dict[str, Any]) -> dict[str, Any]:
    """A change event with BSON's types. Plain JSON has lost them: what the relay itself needs gets them back, the rest
    stays as it is."""
    time = change.get("clusterTime")
    if time.__class__ is not dict or "t" not in time:
        extended(change)
    else:
        with suppress(TypeError, ValueError, KeyError):
            change["clusterTime"] = Timestamp(time["t"], time["i"])
    wall = change.get("wallTime")
    if wall.__class__ is str:
        with suppress(ValueError):
            change["wallTime"] = moment(wall)
    return change


def _text(headers: Headers, name: str) -> str:
    value = headers.get(name)
    return value.decode("utf-8", "replace") if value else ""
