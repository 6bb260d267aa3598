"""What a case file holds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from mess.options.base import Options


def _json(value: Any) -> Any:
    """The value, if it is JSON's. YAML turns a time without quotes into a date, which no body holds."""
    if isinstance(value, dict):
        for inner in value.values():
            _json(inner)
    elif isinstance(value, list):
        for inner in value:
            _json(inner)
    elif not isinstance(value, (str, int, float, bool, type(None))):
        raise ValueError(f"holds a {type(value).__name__} ({value}), which bodies write as text; put it in quotes")
    return value


Body = Annotated[Any, AfterValidator(_json)]
"""A body, as JSON."""


class ExpectedMessage(Options):
    """What a sink sends for an event. Only what is given is compared."""

    url: str | None = None
    """The http step's URL, without user and password."""
    target: str | None = None
    """The queue step's target."""
    key: str | None = None
    """The queue step's key."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Some of its headers, in any case."""
    body: Body = None
    """The whole body."""
    body_contains: Body = None
    """Part of the body: objects may have more fields than these."""


class Expected(Options):
    """What becomes of an event. Without `dropped`, `refused` and `retried`, it goes through all steps."""

    sent: dict[str, ExpectedMessage] = Field(default_factory=dict)
    """What sinks send, by the names of the steps: `http`, `http 2`, …"""
    after: dict[str, Body] = Field(default_factory=dict)
    """The body after other steps, by their names, as relaxed Extended JSON."""
    dropped: bool | str = False
    """Whether a step drops it, or the name of the step that does."""
    refused: str | None = None
    """Part of the step's name and its reason, as in `filter: when`, if a step refuses it."""
    retried: str | None = None
    """The same, if a step fails in a way that is retried."""


class Content(Options):
    """A case: events, and what becomes of each."""

    pipeline: str | None = None
    """The pipeline for all events. Default: the one that the config has for each event's namespace."""
    events: list[dict[str, Any]] = Field(min_length=1)
    """Change events as Extended JSON, or dead letters as `mess dead-letters export` writes them."""
    expect: list[Expected] | None = None
    """What becomes of each event, in the same order."""
