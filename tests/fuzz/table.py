"""What an answer means: the table of docs/delivery.md once more, independently of the code."""

from __future__ import annotations

_DOWN = {401, 403, 404, 407, 410, 429, 502, 503, 504}


def meaning(status: int) -> str:
    """`done`, `down`, `ambiguous` or `refused`."""
    if 200 <= status < 300:
        return "done"
    if 300 <= status < 400 or status in _DOWN:
        return "down"
    if status in (408, 425) or 500 <= status < 600:
        return "ambiguous"
    return "refused"


MAY_BE_THE_EVENTS = (403, 404, 410, 502, 504)
"""Those of them that mean `down` and that one event may provoke."""
