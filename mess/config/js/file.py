"""JSON and JS-style data files: `module.exports = {…}`, unquoted keys, comments, trailing commas."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from mess.config.document import MAX_DEPTH, Document, Path
from mess.config.js.code import is_function, suggestion
from mess.config.js.tokens import NO_LITERAL, Token, Unparsable, literal, tokenize

_CLOSING = {"{": "}", "[": "]", "(": ")"}
_CLOSERS = frozenset(_CLOSING.values())
_ENDS = _CLOSERS | {",", ";", ""}
"""What ends a member of an object or list; the empty text is the end of the file."""
_EXPORT = re.compile(r"(?:module \. exports =|exports =|export default)(?!\S)")
_EMPTY = (";", "'use strict'", '"use strict"')
_CONTINUED = frozenset("=+-*/%&|?:,.<>!~^") | {"=>"}
_CONTINUING = _CONTINUED | frozenset("({[)}]")
_MODIFIERS = ("async", "get", "set")
_MOST_STATEMENTS = 100


def read_js(text: str, document: Document) -> None:
    """Fill a document from a JS-style or JSON file.

    Mistakes become the document's problems. If no tree can be built, its data stays None.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    try:
        document.data = _Parser(tokenize(text), document).config() if text.strip() else None
    except Unparsable as error:
        message, line = error.args
        document.report(message, line=line)


class _Parser:
    """Builds a tree, and reports the JavaScript around and inside it. Raises Unparsable where it cannot continue."""

    def __init__(self, tokens: list[Token], document: Document) -> None:
        self._tokens = tokens
        self._document = document
        self._at = 0
        self._open: list[Token] = []

    @property
    def _here(self) -> Token:
        return self._tokens[self._at]

    def config(self) -> Any:
        """Build the tree, and report the code before and after it."""
        while len(self._document.problems) < _MOST_STATEMENTS and not self._config_begins():
            code = self._statement()
            self._document.report(suggestion(code), line=code[0].line)
        data = self._value(())
        if rest := [token for token in self._tokens[self._at : -1] if token.text != ";"]:
            message = "there can be only one object; put everything into it"
            if rest[0].text in _CLOSERS:
                message = f"{rest[0].text} closes nothing"
            self._document.report(suggestion(rest) if is_function(rest) else message, line=rest[0].line)
        return data

    def _config_begins(self) -> bool:
        """Whether the config, or the end of the file, is here. Skips the words that export it."""
        while self._here.text in _EMPTY:
            self._at += 1
        start = self._at
        while found := _EXPORT.match(" ".join(token.text for token in self._tokens[self._at : self._at + 4])):
            self._at += len(found[0].split())
        return self._at > start or self._here.text in ("{", "[", "")

    def _statement(self) -> list[Token]:
        start, ended = self._at, False
        while not ended:
            self._part()
            last, following = self._tokens[self._at - 1], self._here
            continued = last.text in _CONTINUED or following.text in _CONTINUING or following.line == last.line
            ended = last.text == ";" or following.kind == "end" or not continued
        return self._tokens[start : self._at]

    def _part(self) -> None:
        """Skip a token, or a bracket and everything up to the one that closes it."""
        depth = 0
        while self._here.kind != "end":
            depth += (self._here.text in _CLOSING) - (self._here.text in _CLOSERS)
            self._at += 1
            if depth <= 0:
                return

    def _value(self, path: Path) -> Any:
        token = self._here
        if token.text in _ENDS or token.text in (":", "="):
            raise self._unexpected(token)
        if len(path) > MAX_DEPTH:
            raise Unparsable(f"nested more than {MAX_DEPTH} levels deep", token.line)
        self._document.values[path] = token.line
        if token.text == "{":
            return self._mapping(path)
        if token.text == "[":
            return [self._value((*path, index)) for index, _ in enumerate(self._members())]
        code = self._code()
        value = literal(code)
        if value is NO_LITERAL:
            self._document.reject(suggestion(code, path), path, token.line)
            return None
        return value

    def _mapping(self, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for _ in self._members():
            line, name = self._here.line, self._key(path)
            if name is not None:
                inner = (*path, name)
                if name in found:
                    first = self._document.keys[inner]
                    self._document.report(f"is written twice, first on line {first}", inner, line)
                self._document.keys.setdefault(inner, line)
                found[name] = self._value(inner)
        return found

    def _key(self, path: Path) -> str | None:
        """The key of the member here, or None if it is code without one, which is reported. Its value follows."""
        token, following = self._tokens[self._at : self._at + 2]
        if following.text == ":" and token.kind in ("name", "string", "number"):
            self._at += 2
            return literal([token]) if token.kind == "string" else token.text
        start, code = self._at, self._code()
        if is_function(code) and token.text not in ("{", "[", "..."):
            self._at = start  # a method is its own value
            names = (part.text.strip("\"'") for part in code if part.kind in ("name", "string"))
            return next((name for name in names if name not in _MODIFIERS), "")
        if token.text not in ("[", "...") and (token.kind != "name" or len(code) > 1):
            raise self._unexpected(token if token.kind == "mark" else following)
        self._document.report(suggestion(code, path), path, token.line)
        return None

    def _members(self) -> Iterator[None]:
        """Stop at every member of the object or list that begins here, and skip what is between them."""
        closing = _CLOSING[self._here.text]
        self._open.append(self._here)
        self._at += 1
        while self._here.text != closing:
            if self._here.text in _ENDS:
                raise self._unexpected(self._here)
            yield
            if self._here.text == ",":
                self._at += 1
            elif _begins_value(self._here):
                self._document.report(f"a comma is missing before {_shown(self._here)}", line=self._here.line)
            elif self._here.text != closing:
                raise self._unexpected(self._here)
        self._open.pop()
        self._at += 1

    def _code(self) -> list[Token]:
        """Skip and return a member's tokens, up to what ends it or, after a literal, to where the next one begins."""
        start = self._at
        self._part()
        if literal(self._tokens[start : self._at]) is NO_LITERAL or not _begins_value(self._here):
            while self._here.text not in _ENDS:
                self._part()
        return self._tokens[start : self._at]

    def _unexpected(self, token: Token) -> Unparsable:
        bracket = self._open[-1] if self._open else None
        if bracket and token.kind == "end":
            return Unparsable(f"the {bracket.text} on this line is not closed", bracket.line)
        if bracket and token.text in _CLOSERS and token.text != _CLOSING[bracket.text]:
            return Unparsable(f"{token.text} does not close the {bracket.text} on line {bracket.line}", token.line)
        if token.kind == "end":
            return Unparsable("contains no config; write module.exports = {…}", None)
        reason = f"a comma, quote or bracket is missing or superfluous (column {token.column})"
        return Unparsable(f"cannot be read at {_shown(token)}: {reason}", token.line)


def _begins_value(token: Token) -> bool:
    return token.kind in ("name", "string", "number") or token.text in ("{", "[")


def _shown(token: Token) -> str:
    """A token as messages quote it: never the text of a string, which may be a secret."""
    return token.text if token.kind in ("name", "mark") else "this value"
