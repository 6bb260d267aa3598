"""A JavaScript tokenizer, just complete enough to separate data from code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from mess.config.document import MAX_NODES

_TOKEN = re.compile(
    r"""
      (?P<space> [\s\ufeff]+ | //[^\n]* | /\*.*?\*/ )
    | (?P<string> "(?:[^"\\\n]++|\\.)*+" | '(?:[^'\\\n]++|\\.)*+' | `(?:[^`\\$]++|\\.|\$(?!\{))*+` )
    | (?P<number> \.?\d (?: [eE][+-]\d | [\w.] )* )
    | (?P<name> (?:[^\W\d]|[$#\\]) [\w$\\\u200c\u200d]* )
    | (?P<open> /\* | ["'`] )
    | (?P<mark> => | \.\.\. | \+\+ | -- | . )
    """,
    re.VERBOSE | re.DOTALL,
)
_REGEX = re.compile(r"/(?![*/])(?:[^/\\\[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+/\w*")
_TEMPLATE_PART = re.compile(r"\\.|`|\$?\{|\}", re.DOTALL)
_NUMBER = re.compile(
    r"[+-]?(?:0[xX][\da-fA-F]+|0[oO][0-7]+|0[bB][01]+|(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?|NaN|Infinity)"
)
_WORDS = {"true": True, "false": False, "null": None, "undefined": None}
_ESCAPE = re.compile(r"\\(u\{[0-9a-fA-F]{1,6}\}|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "0": "\0", "\n": ""}
_MOST_TOKENS = 2 * MAX_NODES

NO_LITERAL: Final = object()
"""What `literal` returns for tokens that are code."""


class Token(NamedTuple):
    """`kind` is string, template (with `${}`), regex, number, name, mark, or end (of the file, with an empty text)."""

    kind: str
    text: str
    line: int
    column: int


class Unparsable(Exception):
    """From here on, the text is not a JS-style object. The arguments are the message and the line, if it has one."""


def tokenize(text: str) -> list[Token]:
    """Split a text whose lines end in newlines into tokens, without spaces and comments.

    Raises Unparsable if a string or comment is not closed, or if there are too many tokens.
    """
    tokens: list[Token] = []
    index, line, line_start = 0, 1, 0
    while index < len(text):
        kind, end = _next(text, index, tokens)
        if kind == "open":
            what = f"text that starts with {text[index]}"
            if text.startswith("/*", index):
                what = "comment that begins with /*"
            raise Unparsable(f"the {what} on this line is not closed", line)
        if kind != "space":
            tokens.append(Token(kind=kind, text=text[index:end], line=line, column=index - line_start + 1))
        if len(tokens) > _MOST_TOKENS:
            raise Unparsable(f"too large to be a config file: more than {_MOST_TOKENS:,} tokens", None)
        if breaks := text.count("\n", index, end):
            line, line_start = line + breaks, text.rindex("\n", index, end) + 1
        index = end
    return [*tokens, Token(kind="end", text="", line=line, column=index - line_start + 1)]


def _next(text: str, index: int, before: list[Token]) -> tuple[str, int]:
    found = _TOKEN.match(text, index)
    if found is None or found.lastgroup is None:
        raise AssertionError(f"no token at {index}")
    if found[0] == "`" and (end := _template_end(text, index)):
        return "template", end
    if found[0] == "/" and not (before and _is_value(before[-1])):
        # Where a value is expected, a slash starts a regular expression; after a value, it divides.
        regex = _REGEX.match(text, index)
        return ("regex", regex.end()) if regex else ("open", index)
    return found.lastgroup, found.end()


def _is_value(token: Token) -> bool:
    """Whether a value may end with this token."""
    if token.kind == "mark":
        return token.text in (")", "]", "}", "++", "--")
    return token.text not in ("return", "typeof", "case", "in", "of")


def _template_end(text: str, index: int) -> int | None:
    nested: list[str] = []
    for part in _TEMPLATE_PART.finditer(text, index):
        in_code = nested[-1:] != ["`"]
        if part[0] == ("}" if in_code else "`"):
            nested.pop()
        elif part[0] in ("`", "${") or (part[0] == "{" and in_code):
            nested.append(part[0])
        if not nested:
            return part.end()
    return None


def literal(code: Sequence[Token]) -> Any:
    """The value of a string, a word like true, or a number with its sign; NO_LITERAL for anything else."""
    if len(code) == 1 and code[0].kind == "string":
        return _unescape(code[0].text[1:-1])
    if len(code) > 2 or (len(code) == 2 and code[0].text not in ("+", "-")):
        return NO_LITERAL
    text = "".join(token.text for token in code)
    if len(text) < 300 and _NUMBER.fullmatch(text):
        try:
            return int(text, 0)
        except ValueError:
            return float(text)
    return _WORDS.get(text, NO_LITERAL)


def _unescape(text: str) -> str:
    # JavaScript escapes a character beyond U+FFFF as two escapes (a surrogate pair).
    return _ESCAPE.sub(_escaped, text).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _escaped(found: re.Match[str]) -> str:
    code = found[1]
    if len(code) > 1:
        return chr(min(int(code[1:].strip("{}"), 16), 0x10FFFF))
    return _ESCAPES.get(code, code)
