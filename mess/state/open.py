"""Creates the store for a state url."""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any, NamedTuple

from mess.state.store import StateStore


class _Kind(NamedTuple):
    """A kind of store that is not in MongoDB, whose URLs are `prefix` and a place, which messages call `place`.

    `home` is its class, imported when it is first used and called with a place, the relay's name, and `retry_for`.
    """

    prefix: str
    place: str
    home: str


_KINDS = (_Kind("sqlite:///", "path/to/file", "mess.state.sqlite:SqliteStore"),)
_MONGODB = ("mongodb://", "mongodb+srv://")
FORMS = ("mongodb://…", *(kind.prefix + kind.place for kind in _KINDS))
"""The forms of all state URLs."""
RETRY_FOR = 60.0
"""Seconds for which a failing write is retried, long enough for a failover."""


def in_mongodb(url: str | None) -> bool:
    """Whether this URL's state is in MongoDB. None stands for the watched deployment."""
    return url is None or url.startswith(_MONGODB)


def checked_url(url: str) -> str:
    """The state URL itself. Raises ValueError if it has none of `FORMS`."""
    if not in_mongodb(url) and _found(url) is None:
        raise ValueError(f"not a valid state URL; write {' or '.join(FORMS)}")
    return url


def open_store(url: str, relay: str, database: Any, *, retry_for: float = RETRY_FOR) -> StateStore:
    """A store that is not open yet: the one that the URL names, else MongoDB in `database`, a handle of an async driver
    that the caller connects and closes."""
    if (found := _found(url)) is not None:
        kind, place = found
        store: StateStore = resolve_name(kind.home)(place, relay, retry_for=retry_for)
        return store
    from mess.state.mongo import MongoStore

    return MongoStore(database, relay, retry_for=retry_for)


def places_at_rest(url: str | None, relay: str) -> Mapping[tuple[str, str], int]:
    """See `StateStore.places_at_rest`; empty for MongoDB."""
    if (found := _found(url)) is None:
        return {}
    kind, place = found
    store: type[StateStore] = resolve_name(kind.home)
    return store.places_at_rest(place, relay)


def _found(url: str | None) -> tuple[_Kind, str] | None:
    """The kind of store, and the place that a URL names; None for MongoDB, and for what is not a state URL."""
    for kind in _KINDS:
        if url is not None and url.startswith(kind.prefix) and (place := url.removeprefix(kind.prefix)):
            return kind, place
    return None
