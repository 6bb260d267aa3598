"""Credentials for an endpoint."""

from __future__ import annotations

import base64

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator
from yarl import URL


class Basic(BaseModel):
    """Name and password."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    username: str
    """The name."""
    password: SecretStr
    """The password."""


class Auth(BaseModel):
    """Credentials, one kind of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    basic: Basic | None = None
    """HTTP basic authentication."""
    bearer: SecretStr | None = None
    """A token, sent as `Authorization: Bearer …`."""

    @model_validator(mode="after")
    def _one(self) -> Auth:
        if (self.basic is None) == (self.bearer is None):
            raise ValueError("give either basic or bearer")
        return self


def authorization(auth: Auth | None, url: URL) -> str | None:
    """The value of the header `Authorization`: from `auth`, else from the URL's user and password; None where neither
    is given."""
    if auth is not None and auth.bearer is not None:
        return f"Bearer {auth.bearer.get_secret_value()}"
    if auth is not None and auth.basic is not None:
        return _basic(auth.basic.username, auth.basic.password.get_secret_value())
    if url.user is not None or url.password is not None:
        return _basic(url.user or "", url.password or "")
    return None


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
