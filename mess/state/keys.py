"""Dead letters by their document's `_id`, as users write it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from bson import json_util

from mess.formats import bson_json
from mess.formats.template import written
from mess.state.records import Wanted
from mess.state.store import StateStore


async def with_keys(store: StateStore, wanted: Wanted, keys: Sequence[str]) -> Wanted:
    """The wanted letters of documents with one of these `_id`s, by the letters' ids.

    Reads the heads of all letters that are wanted otherwise. Raises StateError.
    """
    tests = [has_key(text) for text in keys]
    found = [letter.id async for letter in store.dead_letters(wanted) if any(test(letter.key) for test in tests)]
    return replace(wanted, ids=tuple(found))


def has_key(text: str) -> Callable[[Any], bool]:
    """Tells whether a document key is the one that a text names.

    That is its `_id` as `shown_key` shows it, or in plain JSON or Extended JSON, which tell the text `"42"` from the
    number `42`; or the key in JSON (`{"_id": 42}`), whole or only its `_id`.
    """
    meant: list[Any] = []
    with suppress(Exception):  # json_util's parsers raise whatever a value makes them raise; then it is no JSON
        meant.append(json_util.loads(text))
    if meant and isinstance(meant[0], dict) and set(meant[0]) == {"_id"}:
        meant.append(meant[0]["_id"])

    def test(key: Any) -> bool:
        if not isinstance(key, dict) or "_id" not in key:
            return False
        value = key["_id"]
        return shown_key(key) == text or any(_same(value, one) or _same(key, one) for one in meant)

    return test


def shown_key(key: Any) -> str:
    """A document key's `_id` as a text: as plain JSON writes it, without quotes; empty where there is none."""
    if not isinstance(key, dict) or "_id" not in key:
        return ""
    try:
        return written(key["_id"])
    except TypeError:  # what no JSON can hold
        return str(key["_id"])


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, (int, float)) and isinstance(other, (int, float)):
        return value == other and isinstance(value, bool) == isinstance(other, bool)
    try:
        return bson_json.relaxed(value) == bson_json.relaxed(other)
    except Exception:  # what neither can hold is not the same
        return False
