"""JSON, and JS-style files made of data: `module.exports = {…}`, unquoted keys, comments, trailing commas."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mess.config.document import MAX_DEPTH, Document, Path
from mess.config.js_code import advice
from mess.config.js_data import Scanner
from mess.config.js_parts import Code, Scan, Unreadable
from mess.config.js_tokens import NO_LITERAL, tokenize

if TYPE_CHECKING:
    from json5.model import Node
    from json5.tokenizer import JSON5Token

_MARKS = {"{": "LBRACE", "}": "RBRACE", "[": "LBRACKET", "]": "RBRACKET", ":": "COLON", ",": "COMMA"}


def read_js(text: str, document: Document) -> None:
    """Fill a document from a JS-style file or JSON. Mistakes become the document's problems; without a tree its data
    stays None."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        return
    try:
        scanner = Scanner(tokenize(text))
    except RecursionError:
        document.report("templates are nested too deeply")
        return
    try:
        scanner.run()
        if scanner.scan.tokens:
            document.data = _parse(scanner.scan, document)
    except Unreadable as error:
        document.report(str(error), line=error.line)
        # The functions before that place are reported all the same.
        for token, word in scanner.scan.tokens:
            if isinstance(word, Code):
                document.report(advice(word.tokens), line=token.line)
    for message, line in scanner.scan.mistakes:
        document.report(message, line=line)


def _parse(scan: Scan, document: Document) -> Any:
    from json5.model import JSONArray, JSONObject, String
    from json5.parser import parse_tokens
    from json5.utils import JSON5DecodeError

    def value(node: Node, path: Path) -> Any:
        if len(path) > MAX_DEPTH:
            raise Unreadable(f"nested more than {MAX_DEPTH} levels deep", node.lineno)
        document.values[path] = _line(node)
        if isinstance(node, JSONObject):
            found: dict[str, Any] = {}
            for key, inner in node.key_value_pairs:
                name = word(key)
                if isinstance(name, Code):
                    document.report(advice(name.tokens, path), path, key.lineno)
                    continue
                if name in found:
                    first = document.keys[*path, name]
                    document.report(f"is written twice, first on line {first}", (*path, name), key.lineno)
                else:
                    document.keys[*path, name] = _line(key)
                found[name] = value(inner, (*path, name))
            return found
        if isinstance(node, JSONArray):
            return [value(inner, (*path, index)) for index, inner in enumerate(node.values)]
        plain = word(node)
        if isinstance(plain, Code):
            document.reject(advice(plain.tokens, path), path, node.lineno)
            return None
        return plain

    def word(node: Node) -> Any:
        if not isinstance(node, String):
            raise AssertionError(f"a word, not a {type(node).__name__}, is what was put there")
        return scan.tokens[int(node.characters)][1]

    try:
        return value(parse_tokens(_tokens(scan)).value, ())
    except JSON5DecodeError as error:
        token = error.token
        message = "cannot be read here: a comma, quote or bracket is missing or too many"
        raise Unreadable(message, token.lineno if token else None) from error


def _line(node: Node) -> int:
    return node.lineno or 1


def _tokens(scan: Scan) -> Iterator[JSON5Token]:
    """The tokens as json-five's parser takes them.

    Each word is handed over as the text of its index: json-five 1.1.2 misreads escaped backslashes before x and u, and
    keys such as `e1`, `true` and `1`.
    """
    from json5.tokenizer import JSON5Token

    for index, (token, word) in enumerate(scan.tokens):
        mark = word is NO_LITERAL
        kind = _MARKS[token.text] if mark else "DOUBLE_QUOTE_STRING"
        text = token.text if mark else f'"{index}"'
        end = token.index + len(token.text)
        yield JSON5Token(SimpleNamespace(type=kind, value=text, lineno=token.line, index=token.index, end=end), "")
