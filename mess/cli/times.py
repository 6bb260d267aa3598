"""Parses times as users write them."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from bson import Timestamp


def cluster_time(text: str) -> Timestamp:
    """A cluster time from `1766831212:17` (seconds since 1970 and an increment), or from anything that `moment`
    accepts."""
    from bson import Timestamp

    found = re.fullmatch(r"(\d{1,10}):(\d{1,10})", text.strip())
    if found is None:
        return Timestamp(max(1, int(moment(text).timestamp())), 1)
    try:
        return Timestamp(int(found[1]), int(found[2]))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a cluster time; its parts must be below 2^32") from error


def cluster_time_text(time: Timestamp) -> str:
    """A cluster time in the format that `cluster_time` reads."""
    return f"{time.time}:{time.inc}"


def seconds(text: str) -> float:
    """Seconds from a duration such as `30s` or `5m`, or from a number of seconds."""
    from mess.options.values import parse_duration

    try:
        return parse_duration(float(text) if text.replace(".", "", 1).isdigit() else text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def moment(text: str) -> datetime:
    """A time from ISO 8601 (UTC if it has no time zone), or from an age such as `2h`."""
    from mess.options.values import parse_duration

    try:
        return datetime.now(timezone.utc) - timedelta(seconds=parse_duration(text))
    except ValueError:
        pass
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is not a time; write it like 2026-11-23T10:00:00 (UTC), or as an age like 30m, 2h or 7d"
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)
