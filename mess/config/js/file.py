"""JSON and JS-style data files: `module.exports = {…}`, unquoted keys, comments, trailing commas."""

from __future__ import annotations

from typing import Any

from mess.config.document import MAX_DEPTH, MAX_NODES, Document, Path
from mess.config.js.code import suggestion
from mess.config.js.data import Scanner
from mess.config.js.parts import Code, Scan, Unreadable, unexpected
from mess.config.js.tokens import NO_LITERAL, Token, tokenize

_MOST_TOKENS = 2 * MAX_NODES


def read_js(text: str, document: Document) -> None:
    """Fill a document from a JS-style or JSON file.

    Mistakes become the document's problems. If no tree can be built, its data stays None.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        return
    try:
        scanner = Scanner(tokenize(text, _MOST_TOKENS))
    except RecursionError:
        document.report("templates are nested too deeply")
        return
    except OverflowError:
        document.report(f"too large to be a config file: more than {_MOST_TOKENS:,} tokens")
        return
    try:
        scanner.run()
        if scanner.scan.tokens:
            document.data = _Builder(scanner.scan, document).value(())
    except Unreadable as error:
        document.report(str(error), line=error.line)
        # Still report the functions before that place.
        for token, word in scanner.scan.tokens:
            if isinstance(word, Code):
                document.report(suggestion(word.tokens), line=token.line)
    for message, line in scanner.scan.mistakes:
        document.report(message, line=line)


class _Builder:
    """Builds a tree from the words of a scan, which are in the order of the object's text."""

    def __init__(self, scan: Scan, document: Document) -> None:
        self._tokens = scan.tokens
        self._document = document
        self._at = 0

    def value(self, path: Path) -> Any:
        """Build the next value. Raises Unreadable."""
        token, word = self._next()
        if len(path) > MAX_DEPTH:
            raise Unreadable(f"nested more than {MAX_DEPTH} levels deep", token.line)
        self._document.values[path] = token.line
        if isinstance(word, Code):
            self._document.reject(suggestion(word.tokens, path), path, token.line)
            return None
        if word is not NO_LITERAL:
            return word
        if token.text == "{":
            return self._mapping(path)
        if token.text == "[":
            return self._list(path)
        raise unexpected(token)

    def _mapping(self, path: Path) -> dict[str, Any]:
        document = self._document
        found: dict[str, Any] = {}
        while not self._closed("}"):
            key, name = self._next()
            self._expect(":")
            if isinstance(name, Code):
                document.report(suggestion(name.tokens, path), path, key.line)
                self._next()  # the same code again, this time as the value
            else:
                if name in found:
                    first = document.keys[*path, name]
                    document.report(f"is written twice, first on line {first}", (*path, name), key.line)
                else:
                    document.keys[*path, name] = key.line
                found[name] = self.value((*path, name))
            self._comma("}")
        return found

    def _list(self, path: Path) -> list[Any]:
        found: list[Any] = []
        while not self._closed("]"):
            found.append(self.value((*path, len(found))))
            self._comma("]")
        return found

    def _next(self) -> tuple[Token, Any]:
        token = self._tokens[self._at]
        self._at += 1
        return token

    def _closed(self, bracket: str) -> bool:
        closed = self._is_mark(bracket)
        self._at += closed
        return closed

    def _comma(self, bracket: str) -> None:
        if not self._is_mark(bracket):
            self._expect(",")

    def _expect(self, mark: str) -> None:
        if not self._is_mark(mark):
            raise unexpected(self._tokens[self._at][0])
        self._at += 1

    def _is_mark(self, text: str) -> bool:
        token, word = self._tokens[self._at]
        return word is NO_LITERAL and token.text == text
