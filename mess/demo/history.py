"""The last requests that a receiver has answered, for pages that follow them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

import orjson

from mess.demo.signature import Check

MOST = 200
"""The number of requests that are kept."""
BODY_BYTES = 64 * 1024
"""How much of a body is kept."""
_HEADERS, _HEADER_CHARACTERS = 64, 2048
_INDENTED_CHARACTERS = 4 * BODY_BYTES  # indentation can make a deeply nested body two hundred times as long


@dataclass(frozen=True, slots=True)
class Answered:
    """A request and its answer, as pages see it.

    `time` is its arrival in seconds since the epoch, `took` the seconds until the answer. `size` is the length of the
    body in bytes; `body` is its beginning. `operation`, `namespace` and `key` are those of the change in it, if there
    is one. `marks` are words about the delivery, such as `existing`.
    """

    time: float
    took: float
    method: str
    path: str
    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes
    size: int
    signature: Check
    operation: str = ""
    namespace: str = ""
    key: str = ""
    marks: Sequence[str] = ()

    def as_json(self, number: int) -> bytes:
        """One line of JSON; the body as text, indented if it is JSON and complete."""
        cut = self.size > len(self.body)
        return orjson.dumps(
            {
                "number": number,
                "time": self.time,
                "took": self.took,
                "method": self.method,
                "path": self.path,
                "status": self.status,
                "headers": self.headers,
                "body": _text(self.body) if cut else _indented(self.body),
                "size": self.size,
                "kept": len(self.body),
                "signature": self.signature._asdict(),
                "operation": self.operation,
                "namespace": self.namespace,
                "key": self.key,
                "marks": self.marks,
            }
        )


class History:
    """The last `MOST` requests, numbered from 1. `act` says what the receiver is doing at present, if that
    is anything special."""

    def __init__(self) -> None:
        self._kept: deque[tuple[int, Answered]] = deque(maxlen=MOST)
        self._news = asyncio.Event()
        self.count = 0
        self.act = ""
        self.closed = False

    @property
    def news(self) -> asyncio.Event:
        """Is set as soon as anything changes. To miss nothing, get it before you look."""
        return self._news

    def add(self, request: Answered) -> None:
        """Keep another request; the oldest one goes."""
        self.count += 1
        self._kept.append((self.count, request))
        self._changed()

    def announce(self, act: str) -> None:
        """Tell the pages what the receiver is doing now."""
        self.act = act
        self._changed()

    def close(self) -> None:
        """Tell the pages that nothing more will come."""
        self.closed = True
        self._changed()

    def after(self, number: int) -> list[tuple[int, Answered]]:
        """The kept requests with higher numbers, the oldest first."""
        newest_first = takewhile(lambda entry: entry[0] > number, reversed(self._kept))
        return list(newest_first)[::-1]

    def _changed(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def shown_headers(raw: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Headers as text, limited in number and length."""
    return [
        (_text(name)[:_HEADER_CHARACTERS], _text(value)[:_HEADER_CHARACTERS])
        for _, (name, value) in zip(range(_HEADERS), raw, strict=False)
    ]


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _indented(body: bytes) -> str:
    try:
        indented = orjson.dumps(orjson.loads(body), option=orjson.OPT_INDENT_2).decode()
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return _text(body)
    return indented if len(indented) <= _INDENTED_CHARACTERS else _text(body)
