"""YAML, with the line of every key and value."""

from __future__ import annotations

from typing import Any

import yaml

from mess.config.document import MAX_DEPTH, MAX_NODES, Document, Path

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MERGE = "tag:yaml.org,2002:merge"


def read_yaml(text: str, document: Document) -> None:
    """Fill a document from YAML. Mistakes become the document's problems; without a tree its data stays None."""
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        document.report(*_syntax(error, text))
    except (yaml.YAMLError, RecursionError) as error:
        # An unprintable character has an offset and no line.
        place = getattr(error, "position", None)
        line = None if place is None else text.count("\n", 0, place) + 1
        document.report("not valid YAML: it holds a character that cannot be printed", line=line)
    else:
        if root is not None:
            _Reader(document).read(root)


def _syntax(error: yaml.MarkedYAMLError, text: str) -> tuple[str, Path, int | None]:
    mark = error.problem_mark or error.context_mark
    line = None if mark is None else mark.line + 1
    written = "" if mark is None else (text.splitlines() or [""])[min(mark.line, len(text.splitlines()) - 1)]
    message = f"not valid YAML: {error.problem or error.context}"
    if "\t" in written[: len(written) - len(written.lstrip())]:
        message += "; indent with spaces, not tabs"
    elif "*" in written and '"' not in written:
        message += '; a name with * in it needs quotes: "tenant_*"'
    elif "${" in written:
        message += '; a value with ${…} needs quotes inside { } and [ ]: "${NAME}"'
    return message, (), line


class _Reader:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._constructor = yaml.constructor.SafeConstructor()
        self._count = 0
        self._open: set[int] = set()

    def read(self, root: yaml.Node) -> None:
        try:
            self._document.data = self._value(root, ())
        except _TooMuch as error:
            self._document.report(str(error))

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self._count += 1
        if self._count > MAX_NODES:
            raise _TooMuch("too large to be a config file: aliases (*name) may repeat too much")
        if len(path) > MAX_DEPTH:
            raise _TooMuch(f"nested more than {MAX_DEPTH} levels deep")
        self._document.values[path] = node.start_mark.line + 1
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            self._document.reject("contains itself; an alias (*name) must not stand inside its own anchor", path)
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        finally:
            self._open.discard(id(node))

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        try:
            value = self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError):
            # PyYAML's constructors fail in as many ways as there are tags.
            kind = node.tag.removeprefix("tag:yaml.org,2002:")
            self._document.reject(f"cannot be read as YAML's {kind}; put text in quotes", path)
            return None
        if isinstance(value, bytes):
            self._document.reject("is binary; write it as text", path)
        if isinstance(value, int) and value.bit_length() > 1024:
            # Python refuses to print very long ones.
            self._document.reject("is too large a number", path)
            return None
        return value

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            if key.tag == _MERGE or not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if key.value in seen:
                self._document.report(f"is written twice, first on line {seen[key.value]}", (*path, key.value), line)
            seen.setdefault(key.value, line)
        try:
            self._constructor.flatten_mapping(node)
        except (yaml.YAMLError, RecursionError):
            self._document.report("<< takes a mapping or a list of mappings, such as *name", path)
        found: dict[str, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                message = "a key must be text; quote a value that begins with { or ["
                self._document.report(message, path, key.start_mark.line + 1)
                continue
            # As written: YAML would turn a database called `on` into true, and `123` into a number.
            name = key.value
            self._document.keys[*path, name] = key.start_mark.line + 1
            found[name] = self._value(value, (*path, name))
        return found


class _TooMuch(Exception):
    pass
