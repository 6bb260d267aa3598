"""Times as users write them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import typer


def seconds(text: str) -> float:
    """Seconds from a duration such as `30s` or `5m`, or from a number of seconds."""
    from mess.values import parse_duration

    try:
        return parse_duration(float(text) if text.replace(".", "", 1).isdigit() else text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def moment(text: str) -> datetime:
    """A time from ISO 8601 (UTC where it names no time zone), or from an age such as `2h`."""
    from mess.values import parse_duration

    try:
        return datetime.now(timezone.utc) - timedelta(seconds=parse_duration(text))
    except ValueError:
        pass
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(
            f"{text!r} is no time; write it like 2026-11-23T10:00:00 (UTC), or as an age like 30m, 2h or 7d"
        ) from error
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)
