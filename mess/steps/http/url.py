"""Endpoint URLs in a config."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from yarl import URL

from mess.options.secret import Secret, of_http_url


def http_url(value: str) -> str:
    """The value, if it is an http or https URL. Raises ValueError."""
    try:
        url = URL(value)
        host = (url.host or "").encode("idna")  # otherwise it could never be resolved
    except ValueError as error:
        raise ValueError("not a URL; write it like https://example.com/hook") from error
    if url.scheme not in ("http", "https") or not host:
        raise ValueError("not an http or https URL; write it like https://example.com/hook")
    return value


HttpUrl = Annotated[str, AfterValidator(http_url), Field(repr=False), Secret(of_http_url)]
"""An http or https URL, which may contain a secret."""
