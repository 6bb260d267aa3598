"""Ids of events and of batches: `msg_` and the base32 (RFC 4648, without padding) of a text's SHA-256.

They have no dots, as Standard Webhooks 1.0.0 asks for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".ljust(256)
_LENGTH = 52  # letters for 256 bits, five bits each
_MOST = 512  # ids at a time

# A digest is put into a block of 512 bits, followed by zeros: its 320 last bits are 64 groups of five.
_BLOCK = 64
_BEFORE, _BEHIND = bytes(24), bytes(8)


def _halvings() -> Iterator[tuple[int, int, int]]:
    """How the groups of every block are moved apart until each has a byte of its own.

    In each turn the upper half of the groups of a block moves to the upper half of the block, and the halves become
    blocks themselves. A turn is how far they move, and the masks of the groups that do and of those that stay.
    """
    width = 8 * _BLOCK
    while width > 8:
        half = width // 16 * 5
        stay = int.from_bytes(((1 << half) - 1).to_bytes(width // 8) * (8 * _BLOCK * _MOST // width))
        yield width // 2 - half, stay << half, stay
        width //= 2


_HALVINGS = tuple(_halvings())


def hashed_id(text: str) -> str:
    """The id that stands for `text`."""
    return hashed_ids([text])[0]


def hashed_ids(texts: Sequence[str]) -> list[str]:
    """The ids that stand for `texts`, in their order.

    All at a time, since each operation on a large integer is one loop in C: a third of the work of one by one, which
    was a tenth of the relay's whole work on an event (the standard library's base32 takes half as long again).
    """
    if len(texts) > _MOST:
        return hashed_ids(texts[:_MOST]) + hashed_ids(texts[_MOST:])
    number = int.from_bytes(b"".join([_BEFORE + sha256(text.encode()).digest() + _BEHIND for text in texts]))
    for distance, moving, staying in _HALVINGS:
        number = (number & moving) << distance | number & staying
    letters = number.to_bytes(len(texts) * _BLOCK).translate(_LETTERS).decode()
    return ["msg_" + letters[start : start + _LENGTH] for start in range(0, len(letters), _BLOCK)]
