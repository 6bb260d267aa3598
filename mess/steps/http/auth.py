"""Credentials for an endpoint."""

from __future__ import annotations

import base64
import re
import ssl

from pydantic import SecretStr, field_validator, model_validator
from yarl import URL

from mess.options.base import Options
from mess.steps.http.oauth2 import OAuth2, Tokens
from mess.telemetry.redact import learn


class Basic(Options):
    """User name and password."""

    username: str
    """The user name."""
    password: SecretStr
    """The password."""


class Auth(Options):
    """Credentials of exactly one kind."""

    basic: Basic | None = None
    """HTTP basic authentication."""
    bearer: SecretStr | None = None
    """A token, sent as `Authorization: Bearer …`."""
    oauth2: OAuth2 | None = None
    """Expiring tokens from a token endpoint."""

    @field_validator("bearer")
    @classmethod
    def _in_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[\x20-\x7e]+", value.get_secret_value()):
            raise ValueError("must be a single line of ASCII characters, since it goes into a header")
        return value

    @model_validator(mode="after")
    def _one(self) -> Auth:
        if [self.basic, self.bearer, self.oauth2].count(None) != 2:
            raise ValueError("set exactly one of basic, bearer and oauth2")
        return self

    def tokens(self, tls: ssl.SSLContext, timeout: float) -> Tokens | None:
        """The source of tokens, with `timeout` seconds for each request; None if the credentials never change.

        Raises ConfigError if a required package is not installed.
        """
        return None if self.oauth2 is None else Tokens(self.oauth2, tls, timeout)


def authorization(auth: Auth | None, url: URL) -> str | None:
    """The value of the `Authorization` header: from `auth`, else from the URL's user and password.

    None if neither is set, or if it is an expiring token. The value is redacted from now on.
    """
    if auth is not None and auth.oauth2 is not None:
        return None
    if auth is not None and auth.bearer is not None:
        return f"Bearer {auth.bearer.get_secret_value()}"
    if auth is not None and auth.basic is not None:
        return _basic(auth.basic.username, auth.basic.password.get_secret_value())
    if url.user is not None or url.password is not None:
        return _basic(url.user or "", url.password or "")
    return None


def _basic(username: str, password: str) -> str:
    encoded = base64.b64encode(f"{username}:{password}".encode()).decode()
    learn(encoded)
    return f"Basic {encoded}"
