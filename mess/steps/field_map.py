"""The field-map step: builds a new body from the fields of the old one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from mess.event import Event
from mess.formats.body import ANYTHING, EMPTY, Shape, Unknown
from mess.formats.bson_json import copy
from mess.formats.paths import MISSING, Path, parse_path, put, remove
from mess.formats.template import PathText, Read, Template, TemplateText, reader
from mess.options.base import Options
from mess.steps.base import Context, Reading, StepConfig, Transform, readings


class FieldSource(Options):
    """The source of a field's value. Set one of: a `path` in the body with an optional `default`, a `template`, or a
    constant `value`."""

    path: PathText | None = None
    """A path in the body."""
    default: Any = None
    """The field's value if the path does not exist. Without it, the field is left out."""
    template: TemplateText | None = None
    """A text with placeholders, as in `order {documentKey._id}`: paths in the body, `{$id}`, `{db}`, `{collection}` and
    `{operation}`. A missing value is left empty, unless the placeholder has a default: `{fullDocument.region|eu}`. `{{`
    and `}}` are literal braces."""
    value: Any = None
    """A constant."""

    @model_validator(mode="after")
    def _one_of_them(self) -> FieldSource:
        given = self.model_fields_set
        # null means "not set" for a path or a template, but is a constant like any other.
        sources = [self.path is not None, self.template is not None, "value" in given]
        if sum(sources) != 1:
            raise ValueError("set exactly one of path (with an optional default), template or value")
        if "default" in given and self.path is None:
            raise ValueError("only a path has a default")
        return self


class FieldMapConfig(StepConfig):
    """Builds a new body from the fields of the old one: select, rename, nest, add constants, leave out.

    If a source does not exist, its target is left out, unless there is a default. `$id` is the event's id.
    """

    name: ClassVar[str] = "field-map"

    fields: dict[PathText, PathText | FieldSource] = Field(default_factory=dict)
    """Target path: source path, `{path: …, default: …}`, `{template: "order {documentKey._id}"}` for a text with
    placeholders, or `{value: …}` for a constant."""
    keep: Literal["none", "all"] = "none"
    """What the new body starts with: nothing, or all of the old body."""
    drop: tuple[PathText, ...] = ()
    """Paths to remove from the new body after the fields have been set."""

    @model_validator(mode="after")
    def _does_something(self) -> FieldMapConfig:
        if not self.fields and self.keep == "none":
            raise ValueError(
                "fields is empty and keep is none, so every body would be empty; name fields, or keep: all"
            )
        return self

    def named_values(self) -> Iterator[Reading]:
        """See `StepConfig`."""
        for target, source in self.fields.items():
            option = ("fields", target)
            if isinstance(source, str):
                yield Reading(option, source, "left out")
            elif source.path is not None:
                yield Reading(
                    option=(*option, "path"),
                    name=source.path,
                    need="left out",
                    default="default" in source.model_fields_set,
                )
            elif source.template is not None:
                yield from readings((*option, "template"), source.template, "empty")
        for index, path in enumerate(self.drop):
            yield Reading(("drop", index), path, "none")

    def body_after(self, body: Shape | None) -> Shape | None:
        """The fields that are kept and set, except those that are dropped."""
        if self.keep == "all" and body is None:
            return None
        before = body or ANYTHING
        after = before if self.keep == "all" else EMPTY
        for target, source in self.fields.items():
            after = after.put(parse_path(target), _shape_of(source, before))
        for path in self.drop:
            after = after.remove(parse_path(path))
        return after

    def build(self, context: Context) -> FieldMap:
        """Build the step."""
        return FieldMap(self)


class FieldMap(Transform):
    """See `FieldMapConfig`."""

    def __init__(self, config: FieldMapConfig) -> None:
        self._keep = config.keep == "all"
        self._drop = [parse_path(path) for path in config.drop]
        self._flat: list[tuple[str, Read]] = []
        self._nested: list[tuple[Path, Read]] = []
        for target, source in config.fields.items():
            path, read = parse_path(target), _reader(source)
            # If one target lies within another, order matters, so as soon as one is nested, keep the order of all.
            if len(path) == 1 and not self._nested:
                self._flat.append((target, read))
            else:
                self._nested.append((path, read))

        # Copy a value that is shared with the old body before writing into it or dropping from it.
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


def _shape_of(source: str | FieldSource, body: Shape) -> Shape:
    path = source if isinstance(source, str) else source.path
    if path is None or path == "$id":
        return ANYTHING
    found = body.find(parse_path(path))
    return ANYTHING if isinstance(found, Unknown) else found


def _reader(source: str | FieldSource) -> Read:
    if isinstance(source, str):
        return reader(source)
    if source.template is not None:
        return Template(source.template)
    if source.path is None:
        value = source.value
        return lambda event: copy(value)
    return reader(source.path, source.default if "default" in source.model_fields_set else MISSING)
