"""What an HTTP endpoint's answer means: is it down, does it refuse the event, or may it be either?"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from yarl import URL

from mess.errors import Ambiguous, DeliveryError, EndpointDown, Refused

_DOWN = frozenset({401, 403, 404, 407, 410, 429, 502, 503, 504})
_AMBIGUOUS = frozenset({408, 425})


def failure(status: int, headers: Mapping[str, str], text: str) -> DeliveryError:
    """What an answer that is no success means for the events that were sent; `text` is the beginning of its body."""
    reason = f"answered {status}" + (f": {text}" if text else "")
    if 300 <= status < 400:
        return EndpointDown(f"{reason} (a redirect to {_host(headers.get('Location', ''))}; name the final URL)")
    if status in _DOWN:
        return EndpointDown(reason, _retry_after(headers.get("Retry-After")))
    if status >= 500 or status in _AMBIGUOUS or status < 200:
        return Ambiguous(reason)
    return Refused(reason)


def _host(location: str) -> str:
    try:
        return URL(location).host or "another path"
    except ValueError:
        return "somewhere unreadable"


def _retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header (RFC 9110, 10.2.3): a number of seconds, or a date."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
