"""The form of a sink's messages, and the options that select it."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from mess.formats import bson_json
from mess.formats.base import Envelope, FormatOptions
from mess.options.base import Options
from mess.options.sections import Sections
from mess.registry import Registry

FORMATS: Registry[FormatOptions] = Registry(
    "format",
    FormatOptions,
    "mess.formats.base.FormatOptions",
    {
        "event": "mess.formats.event_body:EventBody",
        "bson": "mess.formats.bson_body:BsonBody",
        "cloudevents": "mess.formats.cloudevents:CloudEvents",
        "debezium": "mess.formats.debezium:Debezium",
    },
)
"""The classes of all formats' options."""

_WRITERS = {"plain": bson_json.plain, "relaxed": bson_json.relaxed, "canonical": bson_json.canonical}


def _only_for_its_format(value: Any, info: ValidationInfo) -> Any:
    if value is not None and info.data.get("format") not in (info.field_name, None):
        raise ValueError(f"has no effect without format: {info.field_name}; set that, or remove this")
    return value


@Sections(FORMATS, "format", lambda options: options, check=_only_for_its_format)
class Format(Options):
    """The options that select what a sink sends; a base class of the sinks' options."""

    format: str = "event"
    """What is sent: `event` is the body after the previous steps, `bson` is the same as BSON instead of JSON,
    `cloudevents` is a CloudEvent (1.0, structured) with that body as its data, `debezium` is what Debezium's MongoDB
    connector writes."""
    json_: Literal["plain", "relaxed", "canonical"] = Field("plain", alias="json")
    """How BSON is written: as simple JSON, or as MongoDB Extended JSON v2 (`relaxed`, `canonical`), which preserves the
    types."""

    @field_validator("json_")
    @classmethod
    def _not_for_own_json(cls, value: str, info: ValidationInfo) -> str:
        name = info.data.get("format")
        if name is not None and FORMATS.find(name).own_json:
            raise ValueError(f"has no effect with format: {name}; remove this option")
        return value

    def envelope(self, relay: str) -> Envelope:
        """The envelope for these options, in the relay with this name. Equal options give the same object, so that an
        event that goes to several sinks is encoded once."""
        options: FormatOptions = getattr(self, self.format, None) or FORMATS.find(self.format)()
        try:
            hash(options)
        except TypeError:  # a package's options may hold anything
            return options.envelope(_WRITERS[self.json_], relay)
        return _envelope(options, self.json_, relay)


@cache
def _envelope(options: FormatOptions, json: str, relay: str) -> Envelope:
    return options.envelope(_WRITERS[json], relay)
