"""Checks a config whose source is Kafka: what only MongoDB could do, and what else a worker needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mess.config.document import Document, Path
from mess.config.pipelines import scopes

_THERE = "is MongoDB's work, and this relay reads Kafka; set it on the relay that reads MongoDB and writes to Kafka"
_OF_MONGODB = {
    "match": f"{_THERE}, or use a filter step here",
    "exclude": f"{_THERE}, or use a field-map step here",
    "full_document": _THERE,
    "full_document_before_change": _THERE,
    "backfill": f"{_THERE}: its events come through Kafka like all others",
}
_AT_THE_TOP = {
    "show_expanded_events": _THERE,
    "start": "is for MongoDB; here, source.kafka.start says where partitions begin",
    "ha": "is not for workers: the consumer group moves the partitions of a process that has ended to the others. "
    "Start any number of processes with this config",
}
_STATE = (
    "is missing: this relay does not read MongoDB, which would keep its dead letters, gaps and pauses; write a MongoDB "
    "URL that all workers share, or sqlite:///path/to/file for each"
)


def check_worker(data: dict[str, Any], document: Document) -> None:
    """Report what a config with a Kafka source cannot have, and what it lacks."""
    if not data.get("source"):
        return
    for path, message in _mistakes(data):
        document.report(message, path)
    if data.get("mongodb") and document.place(("mongodb", "url"))[0] is None:
        document.warn("is not used: this relay reads Kafka (state.url says where the state is kept)", ("mongodb",))


def _mistakes(data: dict[str, Any]) -> Iterator[tuple[Path, str]]:
    for path, scope in scopes(data):
        for option, message in _OF_MONGODB.items():
            if scope.get(option) not in (None, "never"):
                yield (*path, option), message
    for option, message in _AT_THE_TOP.items():
        if data.get(option) is not None:
            yield (option,), message
    if data.get("on_history_lost") == "backfill":
        yield ("on_history_lost",), f"backfill {_THERE}; here it is stop or now"
    state = data.get("state")
    if not isinstance(state, dict) or not state.get("url"):
        yield ("state", "url"), _STATE
