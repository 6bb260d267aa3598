"""Groups events into requests, one endpoint per request, and preserves the order of each document's events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from yarl import URL

from mess.errors import DeliveryError, Refused
from mess.event import Encoder, Event


@dataclass(slots=True, eq=False)
class Part:
    """A request to make: its URL, and the indexes and bodies of its events."""

    url: URL
    bodies: dict[int, bytes] = field(default_factory=dict)
    size: int = 0

    def add(self, index: int, body: bytes) -> None:
        """Add an event."""
        self.bodies[index] = body
        self.size += len(body)


@dataclass(slots=True, eq=False)
class Partition:
    """The requests for some events.

    Make `parts` in order. `errors` holds, by index, the events for which no request can be made; `untried` holds the
    later events with the same ordering keys.
    """

    parts: list[Part] = field(default_factory=list)
    errors: dict[int, DeliveryError] = field(default_factory=dict)
    untried: list[int] = field(default_factory=list)


def partition(
    events: Sequence[Event], url: URL | Callable[[Event], URL], encode: Encoder, max_events: int, max_bytes: int
) -> Partition:
    """Put events into as few requests as possible, each to one URL and with at most `max_events` and `max_bytes` (a
    larger event goes alone).

    Requests to one URL, and requests with events of the same ordering key, follow the order of their events.
    """
    if not isinstance(url, URL):
        return _sorted(events, url, encode, max_events, max_bytes)
    # By far the most frequent case, and on the hot path.
    try:
        bodies = [event.encode(encode) for event in events]
    except Exception:  # which event cannot be encoded is found out below
        only = url
        return _sorted(events, lambda event: only, encode, max_events, max_bytes)
    return Partition(_in_order(url, bodies, max_events, max_bytes))


def _in_order(url: URL, bodies: Sequence[bytes], max_events: int, max_bytes: int) -> list[Part]:
    if len(bodies) == 1:
        return [Part(url, {0: bodies[0]})]
    parts: list[Part] = []
    start = size = 0
    for index, body in enumerate(bodies):
        size += len(body)
        if index > start and (size > max_bytes or index - start >= max_events):
            parts.append(Part(url, dict(zip(range(start, index), bodies[start:index], strict=True))))
            start, size = index, len(body)
    if len(bodies) > start:
        parts.append(Part(url, dict(zip(range(start, len(bodies)), bodies[start:], strict=True))))
    return parts


def _sorted(
    events: Sequence[Event], url: Callable[[Event], URL], encode: Encoder, max_events: int, max_bytes: int
) -> Partition:
    found = Partition()
    parts = found.parts
    latest: dict[URL, int] = {}
    at_least: dict[int, int] = {}
    stuck: set[int] = set()
    for index, event in enumerate(events):
        if event.ordering_key in stuck:
            found.untried.append(index)
            continue
        try:
            where = url(event)
            body = event.encode(encode)
        except Exception as error:
            found.errors[index] = _refused(error)
            stuck.add(event.ordering_key)
            continue
        at = latest.get(where, -1)
        if at < at_least.get(event.ordering_key, 0) or _is_full(parts[at], body, max_events, max_bytes):
            at = latest[where] = len(parts)
            parts.append(Part(where))
        parts[at].add(index, body)
        at_least[event.ordering_key] = at
    return found


def _is_full(part: Part, body: bytes, max_events: int, max_bytes: int) -> bool:
    return len(part.bodies) >= max_events or part.size + len(body) > max_bytes


def _refused(error: Exception) -> DeliveryError:
    return error if isinstance(error, Refused) else Refused(f"the body cannot be encoded: {error}", local=True)
