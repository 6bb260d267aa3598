"""Secrets never leave the relay in what it says of itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

# A password may hold what should have been escaped in a url: better to hide too much of it than too little.
_MONGODB = re.compile(r"(mongodb(?:\+srv)?://)[^\s\"'<>]*@", re.IGNORECASE)
_USER_INFO = re.compile(
    r"([a-z][a-z0-9+.-]*://)(?:[^\s/?#\"'<>]*|[^\s/:@?#\"'<>]*:(?!\d+[/?#])[^\s/\"'<>]*)@", re.IGNORECASE
)
_PARAMETER = re.compile(
    r"([?&][^\s=&]*(?:password|passwd|secret|token|api_?key|signature)[^\s=&]*=|AWS_SESSION_TOKEN:)[^\s&,\"'<>]+",
    re.IGNORECASE,
)
_WEBHOOK_SECRET = re.compile(r"whsec_[A-Za-z0-9+/=_-]+")

_HARMLESS = (type(None), bool, int, float)


def redact(text: str) -> str:
    """`text` with `***` in the place of secrets.

    These are user and password in urls, url parameters that are named like secrets, and webhook secrets (`whsec_…`).
    """
    if "://" in text:
        text = _MONGODB.sub(r"\1***@", text)
        text = _USER_INFO.sub(r"\1***@", text)
        text = _PARAMETER.sub(r"\1***", text)
    if "whsec_" in text:
        text = _WEBHOOK_SECRET.sub("whsec_***", text)
    return text


def redacted(value: Any) -> Any:
    """A copy of `value` with each text in it through `redact`, made of JSON's types: all others become their `str`."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, _HARMLESS):
        return value
    if isinstance(value, Mapping):
        return {redact(str(key)): redacted(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redacted(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, BaseException):
        return redact(compact(value))
    return redact(str(value))


def compact(error: BaseException) -> str:
    """An error as one text: its class and its message, cut where a driver goes on for pages."""
    text = str(error)
    if len(text) > 2000:
        text = text[:2000] + "…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
