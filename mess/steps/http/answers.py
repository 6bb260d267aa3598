"""Interprets an HTTP endpoint's answer: the endpoint is down, it refuses the event, or it may be either."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema, model_validator
from yarl import URL

from mess.errors import Ambiguous, DeliveryError, EndpointDown, Refused, Response
from mess.options.base import Options
from mess.telemetry.redact import beginning

Meaning = Literal["done", "down", "ambiguous", "refused"]

_DOWN = frozenset({401, 403, 404, 407, 410, 429, 502, 503, 504})
_AMBIGUOUS = frozenset({408, 425})
_EVENT_MAY_BE_CAUSE = frozenset({403, 404, 410, 502, 504})
"""Statuses that mean *down*, but that a single event may also cause: a firewall's 403, a handler that crashes."""
_SHOWN = 300  # characters of an answer shown in a message
_KEPT = 1024  # characters of an answer stored with a dead letter
_SECONDS = re.compile(r"[0-9]+")
_LONGEST_DATE = 64  # characters; a date takes 29
_STATUS = re.compile(r"[1-5](\d\d|xx)")


def parse_status(value: Any) -> str:
    """Normalize a status: `503` from 503 or "503"; `5xx` as it is."""
    text = str(value).strip().lower()
    if isinstance(value, (bool, float)) or not _STATUS.fullmatch(text):
        raise ValueError("must be a status such as 503, or a class of them such as 5xx")
    return text


Status = Annotated[
    str,
    BeforeValidator(parse_status),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 100, "maximum": 599},
                {"type": "string", "pattern": r"^[1-5](\d\d|[xX][xX])$"},
            ]
        }
    ),
]


class Answers(Options):
    """What the endpoint's answers mean if they differ from the usual: statuses (`503`) and classes of them (`5xx`). A
    status takes precedence over its class; statuses that are not listed keep their usual meaning."""

    done: tuple[Status, ...] = ()
    """The event is delivered. Default: 2xx."""
    down: tuple[Status, ...] = ()
    """The endpoint is down: its events wait until it is back. Default: 3xx, 401, 403, 404, 407, 410, 429, 502, 503,
    504. If only one event keeps getting a 403, 404, 410, 502 or 504, it is given up, unless the status is listed
    here."""
    ambiguous: tuple[Status, ...] = ()
    """It may be either: the event is retried. Default: 408, 425, and all other 5xx."""
    refused: tuple[Status, ...] = ()
    """The event is at fault: `on_failure` decides. Default: all other 4xx."""

    @model_validator(mode="after")
    def _each_once(self) -> Answers:
        places: dict[str, str] = {}
        for meaning, statuses in self._listed().items():
            for status in statuses:
                if places.setdefault(status, meaning) != meaning:
                    raise ValueError(
                        f"{status} is listed under {places[status]} and under {meaning}; list it only once"
                    )
        return self

    def event_may_be_cause(self, status: int) -> bool:
        """Whether an answer with this status, which means *down*, may have been caused by the event.

        Never if the config lists the status as *down*, which settles the question.
        """
        listed = str(status) in self.down or f"{status // 100}xx" in self.down
        return status in _EVENT_MAY_BE_CAUSE and not listed

    def meaning(self) -> Callable[[int], Meaning]:
        """A function that returns the meaning of a status."""
        listed = {status: meaning for meaning, statuses in self._listed().items() for status in statuses}

        def of(status: int) -> Meaning:
            return listed.get(str(status)) or listed.get(f"{status // 100}xx") or usual(status)

        return of

    def _listed(self) -> dict[Meaning, tuple[str, ...]]:
        return {"done": self.done, "down": self.down, "ambiguous": self.ambiguous, "refused": self.refused}


def usual(status: int) -> Meaning:
    """The meaning of a status, unless the config overrides it."""
    if 200 <= status < 300:
        return "done"
    if 300 <= status < 400 or status in _DOWN:
        return "down"
    if status in _AMBIGUOUS or not 400 <= status < 500:
        return "ambiguous"
    return "refused"


def failure(
    meaning: Meaning, status: int, headers: Mapping[str, str], body: bytes, *, event_may_be_cause: bool = False
) -> DeliveryError:
    """The error for an answer that does not mean `done`; `body` is the beginning of the answer.

    An answer with `Retry-After`, even a malformed one, is never the event's fault, since it refers to time.
    """
    answer = beginning(body.decode("utf-8", "replace"), _KEPT)
    text = answer[:_SHOWN].strip()
    reason = f"answered {status}" + (f": {text}" if text else "")
    response = Response(status, answer)
    if 300 <= status < 400:
        reason += f" (a redirect to {_host(headers.get('Location', ''))}; name the final URL)"
    if meaning == "down":
        return EndpointDown(
            reason,
            retry_after(headers.get("Retry-After")),
            response=response,
            event_may_be_cause=event_may_be_cause and "Retry-After" not in headers,
        )
    return (Ambiguous if meaning == "ambiguous" else Refused)(reason, response=response)


def _host(location: str) -> str:
    try:
        return URL(location).host or "another path"
    except Exception:  # it comes from outside, and a failure here must not count against the event
        return "somewhere unreadable"


def retry_after(value: str | None) -> float | None:
    """Seconds from a Retry-After header (RFC 9110, 10.2.3): a number of seconds, or a date. None for anything else."""
    text = "" if value is None else value.strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    if not text or len(text) > _LONGEST_DATE:
        return None
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
    except Exception:  # for invalid dates, the standard library's parser raises more than ValueError
        return None
