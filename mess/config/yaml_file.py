"""YAML, with the line number of every key and value."""

from __future__ import annotations

from typing import Any

import yaml

from mess.config.document import MAX_DEPTH, MAX_NODES, Document, Path

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_YAML_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_YAML_TAG}merge"
_NUMBERS = frozenset({f"{_YAML_TAG}int", f"{_YAML_TAG}float"})
_LONGEST_NUMBER = 1000  # characters; PyYAML is slow with long YAML 1.1 numbers like 1:59:59
_TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"
_READ_AHEAD = 4096  # characters; libyaml looks for a key's colon within 1024

_Entries = dict[str, tuple[yaml.ScalarNode, yaml.Node]]


def read_yaml(text: str, document: Document) -> None:
    """Fill a document from YAML. Mistakes become the document's problems. If no tree can be built, its data stays
    None."""
    try:
        line = _too_deep(text)
        root = None if line else yaml.compose(text, Loader=_Loader)
    except _TooMuch as error:
        document.report(str(error))
    except yaml.MarkedYAMLError as error:
        document.report(*_syntax(error, text))
    except yaml.YAMLError as error:
        # The error for an unprintable character has an offset and no line.
        place = getattr(error, "position", None)
        line = None if place is None else text.count("\n", 0, place) + 1
        document.report("not valid YAML: it contains a character that cannot be printed", line=line)
    else:
        if line:
            document.report(_TOO_DEEP, line=line)
        elif root is not None:
            _Reader(document).read(root)


def _too_deep(text: str) -> int | None:
    """The line on which the nesting is too deep, or None. Deeper nesting would crash the process in libyaml's composer.

    Raises _TooMuch if the text contains too many values, which would take the composer too long.
    """
    depth = end = count = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            end = event.end_mark.index if event.end_mark else end
            count += isinstance(event, yaml.NodeEvent)
            if count > 2 * MAX_NODES:  # keys count too
                raise _TooMuch(f"too large to be a config file: more than {MAX_NODES:,} values")
            if depth > MAX_DEPTH:
                return int(event.start_mark.line) + 1 if event.start_mark else 1
    except yaml.MarkedYAMLError:
        # libyaml reads ahead, and newer versions have a limit of their own, which may apply before the events reach
        # ours.
        line = _too_deep_ahead(text[end : end + _READ_AHEAD], depth)
        if line is None:
            raise
        return text.count("\n", 0, end) + line
    return None


def _too_deep_ahead(text: str, depth: int) -> int | None:
    """The line on which brackets exceed the depth limit, in a text that starts at `depth`. PyYAML's own scanner has no
    limit."""
    try:
        for token in yaml.scan(text, Loader=yaml.SafeLoader):
            depth += isinstance(token, (yaml.FlowSequenceStartToken, yaml.FlowMappingStartToken))
            depth -= isinstance(token, (yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken))
            if depth > MAX_DEPTH:
                return int(token.start_mark.line) + 1
    except yaml.YAMLError:
        pass
    return None


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
        self._merging: set[int] = set()
        self._flat: dict[int, _Entries] = {}

    def read(self, root: yaml.Node) -> None:
        try:
            self._document.data = self._value(root, ())
        except _TooMuch as error:
            self._document.report(str(error))

    def _value(self, node: yaml.Node, path: Path) -> Any:
        self._grow(1)
        if len(path) > MAX_DEPTH:
            raise _TooMuch(_TOO_DEEP)
        self._document.values[path] = node.start_mark.line + 1
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        if id(node) in self._open:
            self._document.reject("contains itself; an alias (*name) must not be inside its own anchor", path)
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            return [self._value(item, (*path, index)) for index, item in enumerate(node.value)]
        finally:
            self._open.discard(id(node))

    def _scalar(self, node: yaml.ScalarNode, path: Path) -> Any:
        if node.tag in _NUMBERS and len(node.value) > _LONGEST_NUMBER:
            self._document.reject("is too large", path)
            return None
        try:
            value = self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError):
            # PyYAML's constructors raise a different error for each tag. A custom tag is not quoted: it may be text
            # that begins with an exclamation mark, for example a password.
            known = node.tag.startswith(_YAML_TAG)
            kind = f"YAML's {node.tag.removeprefix(_YAML_TAG)}" if known else "a tag"
            self._document.reject(f"cannot be read as {kind}; put text in quotes", path)
            return None
        if isinstance(value, bytes):
            self._document.reject("is binary; write it as text", path)
        if isinstance(value, int) and value.bit_length() > 1024:
            # Python refuses to print very long integers.
            self._document.reject("is too large", path)
            return None
        return value

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        seen: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if key.tag == _MERGE:
                continue
            if not isinstance(key, yaml.ScalarNode):
                self._document.report("a key must be text; quote a value that begins with { or [", path, line)
                continue
            if key.value in seen:
                self._document.report(f"is written twice, first on line {seen[key.value]}", (*path, key.value), line)
            seen.setdefault(key.value, line)
        try:
            entries = self._entries(node)
        except (_BadMerge, RecursionError):
            self._document.reject("<< takes a mapping or a list of mappings, such as *name", path)
            return {}
        found: dict[str, Any] = {}
        for name, (key, value) in entries.items():
            self._document.keys[*path, name] = key.start_mark.line + 1
            found[name] = self._value(value, (*path, name))
        return found

    def _entries(self, node: yaml.Node) -> _Entries:
        """A mapping's keys and values, including those merged with `<<`.

        Each mapping is flattened once; PyYAML's own approach doubles the work with every level that names another
        mapping twice.

        Keys stay as written: YAML would turn a database called `on` into true, and `123` into a number.
        """
        if not isinstance(node, yaml.MappingNode) or id(node) in self._merging:
            raise _BadMerge
        if (known := self._flat.get(id(node))) is not None:
            return known
        self._merging.add(id(node))
        merged: _Entries = {}
        own: _Entries = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                for other in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    entries = self._entries(other)
                    self._grow(len(entries))
                    merged = entries | merged
            elif isinstance(key, yaml.ScalarNode):
                own[key.value] = (key, value)
        self._merging.discard(id(node))
        found = self._flat[id(node)] = merged | own
        return found

    def _grow(self, nodes: int) -> None:
        self._count += nodes
        if self._count > MAX_NODES:
            raise _TooMuch("too large to be a config file: aliases (*name) may repeat too much")


class _TooMuch(Exception):
    pass


class _BadMerge(Exception):
    pass
