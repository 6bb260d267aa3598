"""Tokens by which an endpoint knows this relay: OAuth 2.0's client credentials (RFC 6749, 4.4), by oauthlib."""

from __future__ import annotations

import asyncio
import base64
import re
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import quote_plus, urlencode

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator
from yarl import URL

from mess.errors import ConfigError, EndpointDown, Problem
from mess.options.secret import Part, Secret
from mess.steps.http import connection
from mess.steps.http.aiohttp_client import GuardedConnector
from mess.steps.http.answers import retry_after
from mess.steps.http.url import HttpUrl
from mess.telemetry.redact import beginning, learn, redact

_UNSAID = 300.0
"""Seconds that a token is used for when the token endpoint does not say how long it lasts."""
_EARLY = 30.0
"""How many seconds before its end a token is replaced at the most, since a request takes a while to arrive."""
_ANSWER = 64 * 1024
_REMEMBERED = 1000
"""How many tokens are kept secret, and for how long after their end: answers may still repeat an older one."""
_REMEMBERED_FOR = 3600.0
_LONGEST = 86400.0
"""Seconds after which a token is replaced however long it lasts."""
_SHOWN = 300  # characters of an answer that a message holds
_PUBLIC = frozenset({"audience", "resource"})  # names of what a token is for (RFC 8707); all others may be secrets
_TAKEN = frozenset({"grant_type", "client_id", "client_secret", "scope"})

# RFC 6749, 5.2
_REMEDIES = {
    "invalid_client": "it does not accept client_id and client_secret, or not in this way (client_auth)",
    "unauthorized_client": "it does not let this client have a token by its credentials alone; allow it there",
    "invalid_scope": "it does not give this client this scope; are scope and parameters right?",
    "invalid_target": "it does not give this client a token for this audience; is what parameters says right?",
    "invalid_request": "something is missing from the request, or too much: look at scope, parameters, client_auth",
}


def _of_parameters(value: Any) -> Iterator[Part]:
    if isinstance(value, Mapping):
        for name, given in value.items():
            texts = given if isinstance(given, (list, tuple)) else [given]
            yield from (Part(text, own=False) for text in texts if isinstance(text, str) and name not in _PUBLIC)


class OAuth2(BaseModel):
    """OAuth 2.0 client credentials: tokens from a token endpoint, each used until shortly before its end, and replaced
    once when the endpoint answers 401. `ca`, `client_certificate` and `verify` hold for the token endpoint too. Needs
    `pip install 'mess[oauth2]'`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    token_url: HttpUrl
    """The token endpoint's URL."""
    client_id: str
    """The client's id."""
    client_secret: SecretStr = Field(min_length=1)
    """The client's secret."""
    scope: str | None = None
    """The scope to ask for; several with spaces between."""
    parameters: Annotated[dict[str, str | tuple[str, ...]], Secret(_of_parameters)] = Field(
        default_factory=dict, repr=False
    )
    """Further parameters of the request for a token, such as `audience` or `resource`."""
    client_auth: Literal["basic", "body"] = "basic"
    """How the client says who it is: by HTTP basic authentication, or in the request's body."""

    @field_validator("token_url")
    @classmethod
    def _no_user(cls, value: str) -> str:
        if URL(value).raw_user is not None or URL(value).raw_password is not None:
            raise ValueError("takes no user and password; they are client_id and client_secret")
        return value

    @field_validator("parameters")
    @classmethod
    def _not_ours(cls, value: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(_TAKEN & set(value)):
            remedy = "there are options for them, and grant_type is always client_credentials"
            raise ValueError(f"{', '.join(taken)} cannot stand here: {remedy}")
        return value


class Tokens:
    """Gets tokens, keeps the one that holds, and asks for one at a time however many requests wait for it.

    `timeout` is how many seconds the token endpoint may take, `clock` tells the seconds by which a token's life is
    measured. Raises ConfigError when oauthlib is not installed.
    """

    def __init__(
        self, options: OAuth2, tls: ssl.SSLContext, timeout: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        try:
            from oauthlib.oauth2 import BackendApplicationClient
        except ImportError as error:
            raise ConfigError([Problem("it needs: pip install 'mess[oauth2]'", "auth.oauth2")]) from error
        self._client = BackendApplicationClient(options.client_id)
        self._url = URL(options.token_url)
        self._tls = tls
        self._timeout = timeout
        self._clock = clock
        secret = options.client_secret.get_secret_value()
        self._given = deque[tuple[str, float]]()
        self._headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
        known: dict[str, Any] = {"scope": options.scope, "body": urlencode(options.parameters, doseq=True)}
        if options.client_auth == "basic":
            self._headers["Authorization"] = _basic(options.client_id, secret)
        else:
            known |= {"include_client_id": True, "client_secret": secret}
        self._body: str = self._client.prepare_request_body(**known)
        self._token: str | None = None
        self._until = 0.0
        self._flight: asyncio.Task[str] | None = None

    @property
    def origin(self) -> str:
        """Where the tokens come from, without secrets."""
        return str(self._url.origin())

    async def authorization(self) -> str:
        """The value of the header `Authorization`. Raises EndpointDown when no token can be had."""
        if self._token is not None and self._clock() < self._until:
            return self._token
        if self._flight is None:
            self._flight = asyncio.create_task(self._fetch())
            self._flight.add_done_callback(self._landed)
        # Whoever stops waiting leaves the others their token.
        return await asyncio.shield(self._flight)

    def forget(self, authorization: str) -> None:
        """Use this no longer: the endpoint has refused it. What has taken its place meanwhile stays."""
        if self._token == authorization:
            self._token = None

    async def close(self) -> None:
        """Ask for no further token."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait([self._flight])

    def _landed(self, flight: asyncio.Task[str]) -> None:
        self._flight = None
        if not flight.cancelled():
            flight.exception()  # has been seen, though nobody may wait for it any more

    async def _fetch(self) -> str:
        began = self._clock()
        status, headers, body = await self._ask()
        if status == 429 or status >= 500:
            raise self._down(f"it answers {status}", retry_after(headers.get("Retry-After")))
        if 300 <= status < 400:
            raise self._down(f"it answers {status}, a redirect; name the final URL in token_url")
        token, lifetime = self._parsed(status, body)
        self._until = began + lifetime - min(_EARLY, lifetime / 10)
        self._token = f"Bearer {token}"
        self._keep_secret(token, began + lifetime)
        return self._token

    def _keep_secret(self, token: str, end: float) -> None:
        learn(token)
        self._given.append((token, end))
        while len(self._given) > _REMEMBERED or self._given[0][1] + _REMEMBERED_FOR < self._clock():
            redact.forget(self._given.popleft()[0])

    async def _ask(self) -> tuple[int, Mapping[str, str], str]:
        """The token endpoint's answer: status, headers, and the beginning of its body."""
        # A session of its own: the endpoint's headers are none of the token endpoint's business.
        try:
            async with (
                aiohttp.ClientSession(
                    connector=GuardedConnector(ssl=self._tls),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    timeout=aiohttp.ClientTimeout(total=self._timeout),
                ) as session,
                session.post(self._url, data=self._body, headers=self._headers, allow_redirects=False) as response,
            ):
                body = await connection.beginning(response, _ANSWER)
                return response.status, response.headers, body.decode("utf-8", "replace")
        except TimeoutError as error:
            raise self._down(f"no answer within {self._timeout:g} s") from error
        except aiohttp.ClientError as error:
            raise self._down(connection.trouble(error, self._url)) from error

    def _parsed(self, status: int, body: str) -> tuple[str, float]:
        """The token in an answer, and how many seconds it lasts."""
        from oauthlib.oauth2 import MissingTokenError, OAuth2Error

        strange = f"what it answers ({status}) holds no token; is token_url right?"
        # Neither what is wrong with an answer nor the answer itself goes on as a cause: both may hold secrets.
        try:
            found = self._client.parse_request_body_response(body)
        except MissingTokenError:
            raise self._down(strange) from None
        except OAuth2Error as error:
            # Where the answer says nothing, oauthlib guesses, and not always well.
            description = error.description if error.description != type(error).description else None
            raise self._down(self._said(error.error, description)) from None
        except Exception:  # oauthlib takes for granted that JSON is an object, and more
            raise self._down(strange) from None
        token, kind, lifetime = found["access_token"], found.get("token_type"), found.get("expires_in")
        if not 200 <= status < 300 or not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise self._down(strange)
        if kind is not None and str(kind).lower() != "bearer":
            raise self._down("its tokens are of another type than Bearer, and no other can be used")
        if not isinstance(lifetime, (int, float)) or not lifetime > 0:
            return token, _UNSAID
        return token, min(lifetime, _LONGEST)

    def _said(self, code: str | None, description: str | None) -> str:
        """Why there is no token, in the token endpoint's words, and what to do about it."""
        text = f"it answers {code}" + (f" ({description})" if description else "")
        text = re.sub(r"[^ -~]", "?", beginning(text, _SHOWN))
        remedy = _REMEDIES.get(str(code))
        return f"{text}: {remedy}" if remedy else text

    def _down(self, reason: str, wait: float | None = None) -> EndpointDown:
        return EndpointDown(f"no token from {self.origin}: {reason}", wait, shared=True)


def _basic(client_id: str, secret: str) -> str:
    """HTTP basic authentication with both escaped first (RFC 6749, 2.3.1). It is secret from now on."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    encoded = base64.b64encode(pair.encode()).decode()
    learn(pair, encoded)
    return f"Basic {encoded}"
