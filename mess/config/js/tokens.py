"""A JavaScript tokenizer, just complete enough to separate data from code."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import Any, Final

_TOKEN = re.compile(
    r"""
      (?P<space> [\s\ufeff]+ | //[^\n]* | /\*.*?\*/ )
    | (?P<string> "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' )
    | (?P<number> \.?\d (?: [eE][+-]\d | [\w.] )* )
    | (?P<name> (?:[^\W\d]|[$#\\]) [\w$\\\u200c\u200d]* )
    | (?P<mark> => | \.\.\. | [^`] )
    """,
    re.VERBOSE | re.DOTALL,
)
_TEMPLATE_PART = re.compile(r"\\.|\$\{|`|\{|\}|[^\\$`{}]+|\$", re.DOTALL)
_REGEX = re.compile(r"/(?![*/])(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/\w*")
_ESCAPE = re.compile(r"\\(u\{[0-9a-fA-F]{1,6}\}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "0": "\0", "\n": ""}
_NUMBER = re.compile(r"0[xX][\da-fA-F]+|0[oO][0-7]+|0[bB][01]+|(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_SURROGATES = re.compile("[\ud800-\udfff]")
_WORDS = {"true": True, "false": False, "null": None, "undefined": None, "NaN": float("nan"), "Infinity": float("inf")}

NO_LITERAL: Final = object()
"""What `literal` returns for a token that is not a value by itself."""


@dataclass(frozen=True, slots=True)
class Token:
    """`kind` is string, template, code (a template with `${}`), regex, number, name, mark, or open (a string or comment
    that is not closed)."""

    kind: str
    text: str
    line: int
    index: int


def tokenize(text: str, most: int) -> list[Token]:
    """Split a text whose lines end in newlines into tokens, without spaces and comments.

    Raises OverflowError if there are more than `most`.
    """
    breaks = [index for index, character in enumerate(text) if character == "\n"]
    tokens: list[Token] = []
    index = no_regex_before = 0
    while index < len(text):
        kind, end = "", index
        if text[index] == "/" and index >= no_regex_before and _value_may_follow(tokens):
            kind, end = _regex(text, index)
            if not kind:
                # Check once for each line whether a regular expression is possible; otherwise a line of slashes would
                # take forever.
                no_regex_before = (text.find("\n", index) + 1) or len(text)
        if not kind:
            kind, end = _next(text, index)
        if kind != "space":
            if len(tokens) == most:
                raise OverflowError
            tokens.append(Token(kind, text[index:end], bisect_right(breaks, index - 1) + 1, index))
        if kind == "open":
            break
        index = end
    return tokens


def _regex(text: str, index: int) -> tuple[str, int]:
    found = None if text[index + 1 : index + 2] in ("/", "*") else _REGEX.match(text, index)
    return ("regex", found.end()) if found is not None else ("", index)


def _next(text: str, index: int) -> tuple[str, int]:
    if text[index] == "`":
        return _template(text, index)
    found = _TOKEN.match(text, index)
    if found is None or found.lastgroup is None:
        raise AssertionError(f"no token at {index}")
    kind = found.lastgroup
    if found[0] in ('"', "'") or (text.startswith("/*", index) and kind == "mark"):
        return "open", len(text)
    return kind, found.end()


def _value_may_follow(before: list[Token]) -> bool:
    # Where a value is expected, a slash starts a regular expression; after a value, it divides.
    if not before:
        return True
    last = before[-1]
    return (last.kind == "mark" and last.text not in ")]}") or last.text in ("return", "typeof", "case", "in", "of")


def _template(text: str, start: int) -> tuple[str, int]:
    kind, braces, index = "template", [], start + 1
    while index < len(text):
        found = _TEMPLATE_PART.match(text, index)
        if found is None:
            break
        part, index = found[0], found.end()
        if part == "${":
            kind = "code"
            braces.append(part)
        elif part == "{" and braces:
            braces.append(part)
        elif part == "}" and braces:
            braces.pop()
        elif part == "`":
            if not braces:
                return kind, index
            # A nested template.
            _, index = _template(text, index - 1)
    return "open", len(text)


def literal(token: Token) -> Any:
    """The value of a single token, or NO_LITERAL."""
    if token.kind in ("string", "template"):
        return _unescape(token.text[1:-1])
    if token.kind == "name":
        return _WORDS.get(token.text, NO_LITERAL)
    if token.kind == "number" and len(token.text) < 300 and _NUMBER.fullmatch(token.text):
        try:
            return int(token.text, 0)
        except ValueError:
            return float(token.text)
    return NO_LITERAL


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    text = _ESCAPE.sub(_escaped, text)
    if _SURROGATES.search(text):
        # JavaScript escapes a character beyond U+FFFF as two escapes (a surrogate pair).
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _escaped(found: re.Match[str]) -> str:
    code = found[1]
    if len(code) > 1:
        number = int(code[1:].strip("{}"), 16)
        return chr(number) if number <= 0x10FFFF else "\ufffd"
    return _ESCAPES.get(code, code)
