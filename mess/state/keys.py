"""Finds dead letters by their document's `_id`, as written by the user."""

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
    """Restrict `wanted` to letters of documents with one of these `_id`s, by letter ids.

    Reads the heads of all letters that are otherwise wanted. Raises StateError.
    """
    tests = [has_key(text) for text in keys]
    found = [letter.id async for letter in store.dead_letters(wanted) if any(test(letter.key) for test in tests)]
    return replace(wanted, ids=tuple(found))


def has_key(text: str) -> Callable[[Any], bool]:
    """Return a function that tells whether a document key is the one named by `text`.

    `text` is the `_id` as shown by `shown_key`, or in plain JSON or Extended JSON, which distinguish the text `"42"`
    from the number `42`; or the key in JSON (`{"_id": 42}`), whole or only its `_id`.
    """
    meant: list[Any] = []
    with suppress(Exception):  # json_util's parsers raise anything, depending on the value; then it is not JSON
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
    """A document key's `_id` as plain JSON without quotes; empty if there is none."""
    if not isinstance(key, dict) or "_id" not in key:
        return ""
    try:
        return written(key["_id"])
    except TypeError:  # it cannot be represented in JSON
        return str(key["_id"])


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, (int, float)) and isinstance(other, (int, float)):
        return value == other and isinstance(value, bool) == isinstance(other, bool)
    try:
        return bson_json.relaxed(value) == bson_json.relaxed(other)
    except Exception:  # values that neither can represent are not equal
        return False
