"""The types of the config's fields: what each accepts, and what it asks for otherwise."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from mess.config import exclude
from mess.config.match import checked, utc
from mess.options.secret import Secret, of_mongodb_url
from mess.state.open import checked_url

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"


def empty_for_none(value: Any) -> Any:
    """Treat a key without a value as an empty mapping: `databases: {shop: }`."""
    return {} if value is None else value


def _off_for_false(value: Any) -> Any:
    # YAML reads an unquoted `off` as false.
    return "off" if value is False else value


def _no_bool(value: Any) -> Any:
    # Python accepts true as 1.
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


def _start(value: Any) -> Any:
    if value in ("now", "oldest"):
        return value
    if isinstance(value, date):
        return utc(value)
    try:
        return utc(datetime.fromisoformat(value))
    except (TypeError, ValueError) as error:
        raise ValueError("must be now, oldest, or a time such as 2026-01-31T12:00:00Z") from error


def _is_relay_name(value: str) -> str:
    if not re.fullmatch(_NAME, value):
        raise ValueError(
            "must begin with a letter or digit and contain only letters, digits and . _ - (100 characters at most)"
        )
    return value


def _is_host_name(value: str) -> str:
    if not re.fullmatch(r"[\w.*?\[\]!-]+", value):
        raise ValueError("must be a host name or a glob, without scheme or port, as in mess.example.com")
    return value


_T = TypeVar("_T")
NotBool = BeforeValidator(_no_bool)
StateURL = Annotated[str, AfterValidator(checked_url), Secret(of_mongodb_url)]
OffForFalse = BeforeValidator(_off_for_false)
Named = Annotated[dict[str, _T], BeforeValidator(empty_for_none)]
HostName = Annotated[str, AfterValidator(_is_host_name)]
Integer = Annotated[int, NotBool]
Number = Annotated[float, NotBool]
ExcludedPath = Annotated[str, AfterValidator(exclude.checked)]
Query = Annotated[dict[str, Any], AfterValidator(checked)]
RelayName = Annotated[str, AfterValidator(_is_relay_name), Field(json_schema_extra={"pattern": _NAME})]
Start = Annotated[Literal["now", "oldest"] | datetime, BeforeValidator(_start)]
