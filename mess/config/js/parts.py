"""The parts of a JS-style file, once data and JavaScript are separated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mess.config.js.tokens import NO_LITERAL, Token, literal

CLOSING = {"{": "}", "[": "]", "(": ")"}
"""The bracket that closes each bracket."""


@dataclass(frozen=True, slots=True)
class Code:
    """JavaScript where a value is expected."""

    tokens: tuple[Token, ...]


@dataclass(slots=True)
class Scan:
    """The contents of a JS-style file.

    `tokens` holds the object's brackets, colons, commas and words. Each word comes with its meaning: a key, a plain
    value or a `Code`. `mistakes` holds messages and their lines.
    """

    tokens: list[tuple[Token, Any]] = field(default_factory=list)
    mistakes: list[tuple[str, int]] = field(default_factory=list)


class Unreadable(Exception):
    """From here on, the text is not a JS-style object."""

    def __init__(self, message: str, line: int | None) -> None:
        super().__init__(message)
        self.line = line


def plain_value(code: tuple[Token, ...]) -> Any:
    """The value of a member's tokens, sign included, or NO_LITERAL if they are code."""
    if len(code) == 2 and code[0].text in ("-", "+"):
        value = literal(code[1])
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return -value if code[0].text == "-" else value
        return NO_LITERAL
    return literal(code[0]) if len(code) == 1 else NO_LITERAL


def begins_value(token: Token) -> bool:
    """Whether a key or a value may begin with this token."""
    return token.text in ("{", "[") if token.kind == "mark" else token.kind in ("name", "string", "number")


def shown(token: Token) -> str:
    """A token as messages quote it: never the text of a string, which may be a secret."""
    return token.text if token.kind in ("name", "mark") else "this value"


def unexpected(token: Token, bracket: Token | None = None) -> Unreadable:
    """The error for a token that cannot appear here, inside a bracket."""
    if bracket is not None and token.text in CLOSING.values():
        return Unreadable(f"{token.text} does not close the {bracket.text} on line {bracket.line}", token.line)
    return Unreadable(
        f"cannot be read at {shown(token)}: a comma, quote or bracket is missing or superfluous", token.line
    )
