"""Values with their own notation: durations, sizes, urls, function references."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from mess.options.secret import Secret, of_mongodb_url

_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_LONGEST = 1000 * 365 * 86400.0  # seconds; a longer value is a slip, and overflows date arithmetic
_SIZE_UNITS = {"B": 1, "KB": 1000, "MB": 1000**2, "GB": 1000**3, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|KB|MB|GB|KiB|MiB|GiB)?")


def parse_duration(value: Any) -> float:
    """Seconds from `250ms`, `10s`, `5m`, `2h`, `30d`, or a number of seconds. Raises ValueError."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _LONGEST:
        return float(value)
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    seconds = float(found[1]) * _DURATION_UNITS[found[2]] if found else None
    if seconds is None or seconds > _LONGEST:
        raise ValueError(f"{value!r} is not a duration; write it like 250ms, 10s, 5m, 2h or 30d")
    return seconds


def written_time(time: datetime) -> str:
    """A time as ISO 8601 in UTC, to the second: `2026-11-23T10:00:00Z`. Users may pass it back."""
    return f"{time.astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}"


def spoken(seconds: float) -> str:
    """A human-readable duration: `90 s`, `3 min`, `2.5 h`, `3.0 days`."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.1f} days"


def written_duration(seconds: float) -> str:
    """A duration as users write it: `250ms`, `10s`, `5m`."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length and seconds % length == 0:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"


def written_size(size: int) -> str:
    """A size in bytes as users write it: `64MiB`, `512KiB`, or the number of bytes."""
    for unit, length in (("MiB", 1024**2), ("KiB", 1024)):
        if size >= length and size % length == 0:
            return f"{size // length}{unit}"
    return str(size)


def parse_size(value: Any) -> int:
    """Bytes from `64MiB`, `1MB`, `512B`, or a number of bytes."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    found = _SIZE.fullmatch(value.strip()) if isinstance(value, str) and len(value) < 50 else None
    size = int(float(found[1]) * _SIZE_UNITS[found[2] or "B"]) if found else 0
    if size <= 0:
        raise ValueError(f"{value!r} is not a size; write it like 512KiB, 64MiB or 1GB")
    return size


def at_least(seconds: float) -> AfterValidator:
    """The least that a duration may be. Its message has a unit, unlike that of pydantic's own `ge`."""

    def check(value: float) -> float:
        if value < seconds:
            raise ValueError(f"must be at least {written_duration(seconds)}")
        return value

    return AfterValidator(check)


def _mongo_url(value: str) -> str:
    if not value.startswith(("mongodb://", "mongodb+srv://")):
        raise ValueError("not a MongoDB connection string; it begins with mongodb:// or mongodb+srv://")
    return value


def _function_reference(value: str) -> str:
    module, _, function = value.partition(":")
    if not all(part.isidentifier() for part in [*module.split("."), *function.split(".")]):
        raise ValueError(f"{value!r} does not name a Python function; write module:function, as in my_plugins:enrich")
    return value


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^\d+(\.\d+)?\s*(ms|s|m|h|d)$"}]}
    ),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema(
        {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^\d+(\.\d+)?\s*([KMG]i?)?B?$"}]}
    ),
]
MongoURL = Annotated[str, AfterValidator(_mongo_url), Secret(of_mongodb_url)]
FunctionReference = Annotated[str, AfterValidator(_function_reference)]
