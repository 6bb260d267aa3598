"""The field-map step: a new body from the fields of the old one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from mess.codec import copy
from mess.event import Event
from mess.paths import MISSING, Path, get, parse_path, put, remove
from mess.step import Context, StepConfig, Transform


def _path(text: str) -> str:
    parse_path(text)
    return text


PathText = Annotated[str, AfterValidator(_path)]


class FieldSource(BaseModel):
    """Where a field's value comes from: a `path` in the body with an optional `default`, or a constant `value`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: PathText | None = None
    default: Any = None
    value: Any = None

    @model_validator(mode="after")
    def _one_of_both(self) -> FieldSource:
        given = self.model_fields_set
        if ("path" in given) == ("value" in given):
            raise ValueError("give either path (and perhaps default) or value")
        if "default" in given and "value" in given:
            raise ValueError("a constant value has no default")
        return self


class FieldMapConfig(StepConfig):
    """Makes a new body from the fields of the old one: choose, rename, nest, add constants, leave out.

    A source that is not there leaves its target out, unless it has a default. `$id` is the event's id.
    """

    name: ClassVar[str] = "field-map"

    fields: dict[PathText, PathText | FieldSource] = Field(default_factory=dict)
    """Target path: source path, `{path: …, default: …}`, or `{value: …}` for a constant."""
    keep: Literal["none", "all"] = "none"
    """What the new body begins with: nothing, or all of the old one."""
    drop: tuple[PathText, ...] = ()
    """Paths to leave out of the new body, after the fields have been set."""

    @model_validator(mode="after")
    def _does_something(self) -> FieldMapConfig:
        if not self.fields and self.keep == "none":
            raise ValueError(
                "fields is empty and keep is none, so every body would be empty; name fields, or keep: all"
            )
        return self

    def build(self, context: Context) -> FieldMap:
        """Make the step."""
        return FieldMap(self)


Read = Callable[[Event], Any]


class FieldMap(Transform):
    """See `FieldMapConfig`."""

    def __init__(self, config: FieldMapConfig) -> None:
        self._keep = config.keep == "all"
        self._drop = [parse_path(path) for path in config.drop]
        self._flat: list[tuple[str, Read]] = []
        self._nested: list[tuple[Path, Read]] = []
        for target, source in config.fields.items():
            path, read = parse_path(target), _reader(source)
            # Order matters where one target lies within another, so all keep theirs as soon as one is nested.
            if len(path) == 1 and not self._nested:
                self._flat.append((target, read))
            else:
                self._nested.append((path, read))

        # A value that is shared with the old body must not be written into or dropped from.
        self._shares = not (self._nested or self._drop)

    def apply(self, event: Event) -> Event:
        """Replace the body."""
        shares = self._shares
        body: dict[str, Any] = copy(event.body) if self._keep else {}
        for target, read in self._flat:
            value = read(event)
            if value is not MISSING:
                body[target] = value if shares else copy(value)
        for path, read in self._nested:
            value = read(event)
            if value is not MISSING:
                put(body, path, copy(value))
        for path in self._drop:
            remove(body, path)
        event.body = body
        return event


def _reader(source: str | FieldSource) -> Read:
    if isinstance(source, str):
        return _path_reader(source, MISSING)
    if source.path is None:
        value = source.value
        return lambda event: copy(value)
    return _path_reader(source.path, source.default if "default" in source.model_fields_set else MISSING)


def _path_reader(text: str, default: Any) -> Read:
    if text == "$id":
        return lambda event: event.id
    path = parse_path(text)
    if len(path) == 1:
        first = path[0]
        return lambda event: event.body.get(first, default)
    if len(path) == 2:
        # By far the most frequent shape (fullDocument.x, documentKey._id), and this is the hot path.
        first, second = path

        def read(event: Event) -> Any:
            inner = event.body.get(first)
            if inner.__class__ is dict:
                return inner.get(second, default)
            value = get(inner, (second,))
            return default if value is MISSING else value

        return read

    def read_any(event: Event) -> Any:
        value = get(event.body, path)
        return default if value is MISSING else value

    return read_any
