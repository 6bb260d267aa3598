"""Credentials for an endpoint."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator
from yarl import URL

from mess.webhook.oauth2 import OAuth2, Tokens
from mess.webhook.url_template import UrlTemplate

_SHORTEST = 4


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
    oauth2: OAuth2 | None = None
    """Tokens that expire, from a token endpoint."""

    @model_validator(mode="after")
    def _one(self) -> Auth:
        if [self.basic, self.bearer, self.oauth2].count(None) != 2:
            raise ValueError("give one of basic, bearer and oauth2")
        return self

    def tokens(self, tls: ssl.SSLContext, timeout: float) -> Tokens | None:
        """What gets tokens, within `timeout` seconds each; None where the credentials stay the same.

        Raises ConfigError when what it needs is not installed.
        """
        return None if self.oauth2 is None else Tokens(self.oauth2, tls, timeout)


def authorization(auth: Auth | None, url: URL) -> str | None:
    """The value of the header `Authorization`: from `auth`, else from the URL's user and password; None where neither
    is given, or where it is a token's that expires."""
    if auth is not None and auth.oauth2 is not None:
        return None
    if auth is not None and auth.bearer is not None:
        return f"Bearer {auth.bearer.get_secret_value()}"
    if auth is not None and auth.basic is not None:
        return _basic(auth.basic.username, auth.basic.password.get_secret_value())
    if url.user is not None or url.password is not None:
        return _basic(url.user or "", url.password or "")
    return None


def secrets(auth: Auth | None, endpoint: UrlTemplate, headers: Mapping[str, str]) -> list[str]:
    """What a request holds that no message may: credentials, and the values of headers and, as far as they are
    constant, of the URL's query. Those that are shorter than any secret are left out, since they would be found in
    every text."""
    url = endpoint.origin
    found = [*headers.values(), *(value.rpartition(" ")[2] for value in headers.values())]
    for part in endpoint.constant_query:
        found += [part, *URL(f"?{part}", encoded=True).query.values()]
    found = [value for value in found if len(value) >= _SHORTEST]
    if sent := authorization(auth, url):
        found.append(sent.partition(" ")[2])
    if auth is not None and auth.basic is not None:
        found.append(auth.basic.password.get_secret_value())
    elif auth is None:
        found.append(url.password or "")
    return found


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
