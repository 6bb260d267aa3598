"""Separates the data in a JS-style file from the JavaScript around and inside it."""

from __future__ import annotations

from typing import Any

from mess.config.js.code import is_function, suggestion
from mess.config.js.parts import CLOSING, Code, Scan, Unreadable, begins_value, plain_value, shown, unexpected
from mess.config.js.tokens import NO_LITERAL, Token, literal

_WRAPPERS = (("module", ".", "exports", "="), ("exports", "="), ("export", "default"))
_MODIFIERS = ("async", "get", "set")
_DECLARATIONS = ("function", "async", "class")
_MOST_MISTAKES = 100
_UNFINISHED = frozenset("=+-*/%&|?:,.<>!~^") | {"=>"}


class Scanner:
    """Scans a file's tokens once. Raises Unreadable where it cannot continue."""

    def __init__(self, tokens: list[Token]) -> None:
        self.scan = Scan()
        self._tokens = tokens
        self._at = 0
        self._brackets: list[Token] = []

    def run(self) -> None:
        """Fill `scan` with as much of the text as can be read."""
        if any(token.kind == "open" for token in self._tokens):
            last = self._tokens[-1]
            what = (
                "comment that begins with /*" if last.text.startswith("/*") else f"text that starts with {last.text[0]}"
            )
            raise Unreadable(f"the {what} on this line is not closed", last.line)
        if self._statements(first=True):
            self._object()
            self._statements(first=False)

    def _peek(self, ahead: int = 0) -> str:
        at = self._at + ahead
        return self._tokens[at].text if at < len(self._tokens) else ""

    def _statements(self, *, first: bool) -> bool:
        """Skip what stands before or after the object; return whether there is an object."""
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            wrapper = next((words for words in _WRAPPERS if self._follows(words)), None)
            if first and wrapper:
                self._at += len(wrapper)
                # module.exports = exports = { … }
                if not any(map(self._follows, _WRAPPERS)):
                    return True
            elif first and token.text in ("{", "["):
                return True
            elif token.text == ";" or (first and token.text in ('"use strict"', "'use strict'")):
                self._at += 1
            else:
                end = self._statement_end()
                code = self._tokens[self._at : end]
                self._at = max(end, self._at + 1)
                self.scan.mistakes.append((suggestion(code) if first else _behind(code), token.line))
                if len(self.scan.mistakes) >= _MOST_MISTAKES:
                    return False
        if first and not self.scan.mistakes:
            raise Unreadable("contains no config; write module.exports = {…}", None)
        return False

    def _follows(self, words: tuple[str, ...]) -> bool:
        return all(self._peek(ahead) == word for ahead, word in enumerate(words))

    def _statement_end(self) -> int:
        depth, start = 0, self._at
        declaration = self._tokens[start].text in _DECLARATIONS
        for at in range(start, len(self._tokens)):
            token = self._tokens[at]
            previous = self._tokens[at - 1]
            new_line = at > start and token.line > previous.line
            ended = previous.text not in _UNFINISHED and token.text not in _UNFINISHED and token.text not in "({[)}]"
            if not depth and new_line and ended:
                return at
            depth += (token.text in CLOSING) - (token.text in CLOSING.values())
            if not depth and (token.text == ";" or (declaration and token.text == "}")):
                return at + 1
        return len(self._tokens)

    def _object(self) -> None:
        state = "value"
        while state != "end":
            if self._at >= len(self._tokens):
                if self._brackets:
                    message = f"the {self._brackets[-1].text} on this line is not closed"
                    raise Unreadable(message, self._brackets[-1].line)
                return
            state = self._key() if state == "key" else self._value() if state == "value" else self._after()

    def _key(self) -> str:
        token = self._tokens[self._at]
        if token.text == "}":
            return self._after()
        if self._peek(1) == ":" and token.kind in ("string", "name", "number"):
            self._emit(token, token.text if token.kind == "name" else str(literal(token)))
            self._emit(self._tokens[self._at + 1])
            self._at += 2
            return "value"
        # A method, a spread, a computed key or a variable name: members that exist only in JavaScript.
        code = self._code()
        method = is_function(code)
        alone = token.kind == "name" and len(code) == 1
        if not (method or alone or token.text in ("...", "[")):
            raise unexpected(code[1] if len(code) > 1 and token.kind != "mark" else token)
        name = next((part.text for part in code if part.kind in ("name", "string") and part.text not in _MODIFIERS), "")
        self._emit(token, name.strip("\"'") if method else Code(code))
        self._emit(Token("mark", ":", token.line, token.index))
        self._emit(token, Code(code))
        return "after"

    def _value(self) -> str:
        token = self._tokens[self._at]
        if token.kind == "mark" and token.text in ("{", "["):
            self._brackets.append(token)
            self._emit(token)
            self._at += 1
            return "key" if token.text == "{" else "value"
        if token.text == "]" and self._brackets and self._brackets[-1].text == "[":
            return self._after()
        if token.kind == "mark" and token.text in ",:}])=;":
            raise unexpected(token)
        following = self._tokens[self._at + 1 : self._at + 2]
        if following and begins_value(following[0]) and (value := literal(token)) is not NO_LITERAL:
            # Two values in a row: the comma between them is missing.
            self._at += 1
            self._emit(token, value)
            return "after"
        code = self._code()
        value = plain_value(code)
        self._emit(token, Code(code) if value is NO_LITERAL else value)
        return "after"

    def _after(self) -> str:
        token = self._tokens[self._at]
        mark = token.text if token.kind == "mark" else ""
        inside = self._brackets[-1].text if self._brackets else ""
        if not inside:
            return "end"
        if mark == CLOSING[inside]:
            self._brackets.pop()
            self._emit(token)
            self._at += 1
            return "after" if self._brackets else "end"
        if mark == ",":
            self._emit(token)
            self._at += 1
        elif begins_value(token):
            self.scan.mistakes.append((f"a comma is missing before {shown(token)}", token.line))
            self._emit(Token("mark", ",", token.line, token.index))
        else:
            raise unexpected(token, self._brackets[-1])
        return "key" if inside == "{" else "value"

    def _code(self) -> tuple[Token, ...]:
        """Consume and return the tokens up to the comma or bracket that ends a member."""
        depth, start = 0, self._at
        while self._at < len(self._tokens):
            token = self._tokens[self._at]
            if token.kind == "mark":
                if not depth and token.text in ",}])":
                    break
                depth += (token.text in CLOSING) - (token.text in CLOSING.values())
                if not self._brackets and not depth and token.text == ";":
                    break
            self._at += 1
        return tuple(self._tokens[start : self._at]) or (self._tokens[start],)

    def _emit(self, token: Token, word: Any = NO_LITERAL) -> None:
        self.scan.tokens.append((token, word))


def _behind(code: list[Token]) -> str:
    if code and code[0].text in CLOSING.values():
        return f"{code[0].text} closes nothing"
    return suggestion(code) if is_function(code) else "there can be only one object; put everything into it"
