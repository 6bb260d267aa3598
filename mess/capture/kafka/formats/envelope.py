"""What Kafka Connect's converters put around a value."""

from __future__ import annotations

from typing import Any

from mess.capture.kafka.formats.extended_json import loads


def unwrapped(data: bytes) -> Any:
    """The JSON in a record's key or value: without the schema beside it, and out of a JSON text. None if it is null.

    Raises ValueError for what is not JSON, RecursionError if it is nested too deeply.
    """
    found = loads(data)
    if found.__class__ is dict and len(found) == 2 and "payload" in found and "schema" in found:
        found = found["payload"]
    return loads(found) if found.__class__ is str else found
