"""Suggests the name that was probably meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from itertools import islice
from typing import Any

# Comparison time grows with the number and length of names, so with too many or too long ones there is no suggestion.
_LONG, _MANY = 100, 200


def did_you_mean(given: Any, known: Iterable[str]) -> str:
    """`; did you mean "endpoint"?`, or nothing if no known name is similar to the given one."""
    match = closest_name(given, known)
    return f'; did you mean "{match}"?' if match else ""


def closest_name(given: Any, known: Iterable[str], cutoff: float = 0.7) -> str | None:
    """The known name that is most similar to a given one, if any; `fullDocument` is similar to `full_document`.

    `cutoff` is the similarity required, from 0 to 1 (identical).
    """
    names = list(islice(known, _MANY + 1))
    if not isinstance(given, str) or len(given) > _LONG or len(names) > _MANY:
        return None
    by_form = {_form(name): name for name in names if len(name) <= _LONG}
    found = difflib.get_close_matches(_form(given), by_form, n=1, cutoff=cutoff)
    return by_form[found[0]] if found else None


def _form(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
