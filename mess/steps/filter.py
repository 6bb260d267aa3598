"""The filter step: drops events for which an expression in CEL is false."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, ClassVar

import orjson
from bson import Decimal128, Int64, ObjectId, Timestamp
from pydantic import AfterValidator, Field

from mess.errors import Refused
from mess.event import Event
from mess.formats import bson_json
from mess.formats.body import Shape
from mess.options.extras import required
from mess.steps.base import Context, Reading, StepConfig, Transform

_SHOWN = 300  # characters of the library's message; it may contain a value of the document
# Both macros copy their whole result for each element: 10,000 elements take seconds and gigabytes.
_ENVIRONMENT = """
stdlib: {exclude_macros: [map, filter]}
variables: [{name: event, type_name: dyn}]
"""
_AS_THEY_ARE = frozenset({int, Int64, float, bool, type(None)})
_STRING = r"""[rR]?(?:"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')"""
_STRINGS = re.compile(_STRING)
_CONSTANT = re.compile(rf"\b(matches|timestamp|duration)\(\s*({_STRING})\s*\)")
_USE = re.compile(r"\bevent\b((?:\s*\.\s*(?:\?\s*)?[A-Za-z_]\w*)*)(\s*\()?", re.ASCII)
_MISTAKE = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_CODE = re.compile(r"^[A-Z_]+: | \[[A-Z_]+\]$")

Tree = dict[str, "Tree | None"]
"""Fields by name, each with its own fields, or None for all of it."""


@lru_cache(maxsize=1)
def _environment() -> Any:
    """The language of expressions. Raises ImportError without the library."""
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_optional

    return cel.NewEnv(config=cel.NewEnvConfigFromYaml(_ENVIRONMENT), extensions=[ext_optional.ExtOptional()])


def _compiled(text: str) -> Any:
    """The compiled expression. Raises ValueError if it is none, ImportError without the library."""
    environment = _environment()
    try:
        program = environment.compile(text)
    except RuntimeError as error:
        raise ValueError(_mistake(str(error), "\n" in text.strip())) from error
    kind = program.return_type().name()
    if kind not in ("BOOL", "DYN"):
        raise ValueError(f"the expression's value is of type {kind.lower()}; write a condition, which is true or false")
    for function, constant in _CONSTANT.findall(text):
        form = f'"".{function}({constant})' if function == "matches" else f"{function}({constant})"
        with suppress(RuntimeError):  # it is no constant after all, but part of a text
            result = environment.compile(form).eval(data={})
            if result.type().name() == "ERROR":
                raise ValueError(f"{function}({constant}): {_CODE.sub('', result.value())}")
    return program


def _mistake(message: str, several_lines: bool) -> str:
    """The library's message for an expression that it does not accept, in one line."""
    if re.search(r"undeclared reference to '(map|filter)'", message):
        return "map and filter are left out of the language; use exists, all or exists_one"
    found = _MISTAKE.search(message)
    if found is None or found[1] == "-1":
        return "the expression is nested too deeply, or has too long a chain of operators" + (
            "" if "recursion" in message else f": {_CODE.sub('', message)[:_SHOWN]}"
        )
    line, column, what = found.groups()
    what = re.sub(r" expecting \{.*| \(in container ''\)| \[[A-Z_]+\]$", "", what).replace("<EOF>", "the end")
    place = f"line {line}, character {column}" if several_lines else f"character {column}"
    return f"{place} of the expression: {what[:1].lower()}{what[1:_SHOWN]}"


def _checked(text: str) -> str:
    with suppress(ImportError):  # `build` reports it
        _compiled(text)
    return text


def _uses(text: str) -> Iterator[tuple[list[str], bool]]:
    """The paths in the body that an expression reads, each with whether it may be missing; an empty path for all of it.

    Finds all of them in any expression, and more where texts in it look like them.
    """
    for fields, call in _USE.findall(text):
        path = [part.strip() for part in fields.split(".")[1:]]
        if call:
            path = path[:-1]
        yield [part.removeprefix("?").strip() for part in path], path[:1] != [] and path[0].startswith("?")


def _tree(text: str) -> Tree | None:
    """All that an expression reads from the body; None for the whole body."""
    tree: Tree = {}
    for path, _ in _uses(text):
        if not path:
            return None
        *outer, last = path
        at: Tree | None = tree
        for name in outer:
            at = at.setdefault(name, {}) if at is not None else None
        if at is not None:
            at[last] = None
    return tree


class FilterConfig(StepConfig):
    """Passes on the events for which a condition is true, and drops all others.

    The condition is an expression in [CEL](https://cel.dev), with the body as the variable `event`. An event for which
    it cannot be evaluated, for example because a field is missing, is refused, and `on_failure` decides. Needs
    `pip install 'mess[filter]'`.
    """

    name: ClassVar[str] = "filter"

    when: Annotated[str, Field(max_length=10_000), AfterValidator(_checked)]
    """The condition, such as `event.fullDocument.total >= 100`."""

    def named_values(self) -> Iterator[Reading]:
        """See `StepConfig`."""
        text = _STRINGS.sub('""', self.when)
        uses = [use for use in _uses(text) if use[0]]
        tested = set(re.findall(r"\bhas\(\s*event\s*\.\s*(\w+)\s*\)", text))
        if any(path[0] == "operationType" for path, _ in uses):
            tested |= {path[0] for path, _ in uses}
        readings = [
            Reading(("when",), ".".join(path), "error", default=optional or path[0] in tested)
            for path, optional in uses
        ]
        yield from dict.fromkeys(readings)

    def body_after(self, body: Shape | None) -> Shape | None:
        """Events pass unchanged."""
        return body

    def build(self, context: Context) -> Filter:
        """Build the step. Raises ConfigError if the library is not installed."""
        with required("filter", "the filter step", "when"):
            return Filter(self)


class Filter(Transform):
    """See `FilterConfig`."""

    def __init__(self, config: FilterConfig) -> None:
        self._program = _compiled(config.when)
        self._tree = _tree(config.when)
        self._convert = _converter()

    def apply(self, event: Event) -> Event | None:
        """Return the event, or None if the condition is false."""
        tree = self._tree
        body = self._convert(event.body) if tree is None else _picked(event.body, tree, self._convert)
        try:
            result = self._program.eval(None, {"event": body})
        except RuntimeError as error:
            raise _refused(str(error)) from error
        value = result.value()
        if value is True:
            return event
        if value is False:
            return None
        raise _refused(value if result.type().name() == "ERROR" else "the value is neither true nor false")


def _refused(message: str) -> Refused:
    what = _CODE.sub("", message)
    if what.startswith("Key not found"):
        what += "; null counts as missing. Test it first with has(), or give a default, as in event.?total.orValue(0)"
    elif "Iteration budget" in what:
        what = "the condition visits more than 10,000 elements of arrays"
    return Refused(f"when: {what[:_SHOWN]}", local=True)


def _picked(value: Mapping[str, Any], tree: Tree, convert: Callable[[Any], Any]) -> dict[str, Any]:
    """The parts of an object that an expression reads."""
    found: dict[str, Any] = {}
    for name, inner in tree.items():
        item = value.get(name)
        if item is not None:
            nested = inner is not None and isinstance(item, dict)
            found[name] = _picked(item, inner, convert) if inner is not None and nested else convert(item)
    return found


def _converter() -> Callable[[Any], Any]:
    """Return the function that converts values of a body to those of expressions; a null in an object is left out.

    Raises ImportError without the library.
    """
    from google.protobuf import timestamp_pb2

    def moment(value: datetime) -> Any:
        made = timestamp_pb2.Timestamp()
        made.FromDatetime(value)
        return made

    kinds: dict[type, Callable[[Any], Any]] = {
        ObjectId: str,
        datetime: moment,
        Decimal128: lambda value: float(value.to_decimal()),
        Timestamp: lambda value: timestamp_pb2.Timestamp(seconds=value.time),
    }

    def convert(value: Any) -> Any:
        kind = type(value)
        if kind is str:
            if "\0" in value:  # the library would cut the text there; the same goes for bytes
                raise Refused("when: a text contains a NUL character", local=True)
            return value
        if kind in _AS_THEY_ARE:
            return value
        if kind is dict:
            return {key: convert(item) for key, item in value.items() if item is not None}
        if kind is list:
            return [convert(item) for item in value]
        known = kinds.get(kind)
        return convert(orjson.loads(bson_json.plain(value))) if known is None else known(value)

    return convert
