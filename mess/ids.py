"""Ids of events and batches: `msg_` and the base32 (RFC 4648, without padding) of a text's SHA-256.

They contain no dots, as Standard Webhooks 1.0.0 requires.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import sha256

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".ljust(256)
_LENGTH = 52  # letters for 256 bits, five bits each
_MOST = 512  # ids at a time

# A digest is put into a block of 512 bits, followed by zeros; the block's last 320 bits are 64 groups of five.
_BLOCK = 64
_BEFORE, _BEHIND = bytes(24), bytes(8)


def _halvings() -> Iterator[tuple[int, int, int]]:
    """The steps that spread the groups of every block until each group has its own byte.

    Each step moves the upper half of a block's groups to the upper half of the block; the halves then become blocks
    themselves. A step consists of the distance, and the masks of the groups that move and of those that stay.
    """
    width = 8 * _BLOCK
    while width > 8:
        half = width // 16 * 5
        stay = int.from_bytes(((1 << half) - 1).to_bytes(width // 8) * (8 * _BLOCK * _MOST // width))
        yield width // 2 - half, stay << half, stay
        width //= 2


_HALVINGS = tuple(_halvings())


_ID = re.compile(r"msg_[A-Z2-7]{52}")


def is_id(text: str) -> bool:
    """Whether a text has the form of an id."""
    return _ID.fullmatch(text) is not None


def hashed_id(text: str) -> str:
    """The id for `text`."""
    return hashed_ids([text])[0]


def hashed_ids(texts: Sequence[str]) -> list[str]:
    """The ids for `texts`, in the same order.

    They are computed all at once, since each operation on a large integer is one loop in C. That takes a third of the
    time of computing them one by one, which was a tenth of the relay's total work per event (the standard library's
    base32 takes half as long again).
    """
    if len(texts) > _MOST:
        return hashed_ids(texts[:_MOST]) + hashed_ids(texts[_MOST:])
    number = int.from_bytes(b"".join([_BEFORE + sha256(text.encode()).digest() + _BEHIND for text in texts]))
    for distance, moving, staying in _HALVINGS:
        number = (number & moving) << distance | number & staying
    letters = number.to_bytes(len(texts) * _BLOCK).translate(_LETTERS).decode()
    return ["msg_" + letters[start : start + _LENGTH] for start in range(0, len(letters), _BLOCK)]
