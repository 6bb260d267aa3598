"""What MongoDB's Kafka source connector writes: change events as they are, in JSON or BSON."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from mess.capture.kafka.formats.extended_json import java, moment
from mess.capture.kafka.formats.not_readable import NotReadable


def event(change: dict[str, Any], *, typed: bool) -> dict[str, Any] | None:
    """The change event in a record of the connector's; None for one that concerns its change stream, not data. `typed`
    says whether it has BSON's types already.

    Raises NotReadable.
    """
    if not typed:
        java(change)
    wall, token = change.get("wallTime"), change.get("_id")
    if wall.__class__ is str:  # output.json.formatter: SimplifiedJson
        with suppress(ValueError):
            change["wallTime"] = moment(wall)
    if change["operationType"] == "invalidate":
        return None
    if "splitEvent" in change:
        raise NotReadable(
            "it is a part of an event that MongoDB has split. Remove $changeStreamSplitLargeEvent from the "
            "connector's pipeline"
        )
    if change.get("documentKey").__class__ is str:
        raise NotReadable(
            "the connector has written documents as text in a schema. Set its output.format.value to json, and its "
            "value.converter to org.apache.kafka.connect.storage.StringConverter"
        )
    if token.__class__ is dict and "copyingData" in token:
        # It says insert, with the document's _id instead of a resume token.
        change["operationType"] = "read"
        del change["_id"]
    return change
