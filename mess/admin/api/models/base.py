"""What the models of the API have in common."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from mess.state.records import storable


class Model(BaseModel):
    """Attribute docstrings become the descriptions in the OpenAPI document."""

    # Built when first used: a relay starts sooner.
    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid", frozen=True, defer_build=True)


def _storable(value: Any) -> Any:
    """Refuse texts that no state store can look for: with NULs, or half of a surrogate pair."""
    texts = value.values() if isinstance(value, dict) else ()
    if any(isinstance(text, str) and text != storable(text) for text in texts):
        raise ValueError("contains a character that no name has")
    return value


class Input(Model):
    """What clients send."""

    _checked = model_validator(mode="before")(_storable)


def _written(value: Any) -> Any:
    # Pydantic also takes numbers as times.
    if value is not None and not (isinstance(value, str) and _DATE.match(value)):
        raise ValueError("must be an ISO 8601 time")
    return value


def _in_utc(time: datetime) -> datetime:
    try:
        return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
    except OverflowError:
        raise ValueError("must be between the years 1 and 9999 in UTC") from None


_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
Moment = Annotated[datetime, BeforeValidator(_written), AfterValidator(_in_utc)]
"""A time in ISO 8601."""


def _separated(value: Any) -> Any:
    return tuple(value.split(",")) if isinstance(value, str) else value


Separated = Annotated[tuple[str, ...], BeforeValidator(_separated), Field(max_length=100)]


class Error(Model):
    """Why a request was not carried out, and how to fix it."""

    error: str
