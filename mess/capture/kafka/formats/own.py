"""What MESS's queue step writes: `format: event` and `format: cloudevents`, in every `json`."""

from __future__ import annotations

from typing import Any

from bson import Timestamp

from mess.capture.kafka.formats.extended_json import extended, moment
from mess.capture.kafka.formats.not_readable import NotReadable

REPLACED = (
    "a step of the relay that wrote it, such as field-map or function, has replaced the change event. Move that step "
    "from the pipeline before the queue step into this relay's pipeline"
)


def event(change: dict[str, Any]) -> dict[str, Any]:
    """A change event with BSON's types. Plain JSON has lost them: what the relay itself needs gets them back, the rest
    stays as it is."""
    time = change.get("clusterTime")
    if time.__class__ is dict and "t" in time:
        change["clusterTime"] = _cluster_time(time)
    else:
        extended(change)
    wall = change.get("wallTime")
    if wall.__class__ is str:
        change["wallTime"] = _wall_time(wall)
    return change


def cloud_event(body: dict[str, Any]) -> dict[str, Any]:
    """The change event in a CloudEvent. Raises NotReadable."""
    change = body.get("data")
    if change.__class__ is dict and "operationType" in change:
        return event(change)
    if any(name.startswith("iodebezium") for name in body):
        raise NotReadable(
            "Debezium's CloudEventsConverter wrote it. Set the connector's value.converter to "
            "org.apache.kafka.connect.json.JsonConverter"
        )
    raise NotReadable(f"its CloudEvent has no change event as data: {REPLACED}")


def _cluster_time(value: dict[str, Any]) -> Any:
    try:
        return Timestamp(value["t"], value["i"])
    except (KeyError, TypeError, ValueError):
        return value


def _wall_time(text: str) -> Any:
    try:
        return moment(text)
    except ValueError:
        return text
