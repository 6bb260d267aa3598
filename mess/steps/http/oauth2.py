"""OAuth 2.0 client credentials (RFC 6749, 4.4): tokens that authenticate the relay, with oauthlib."""

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
from pydantic import Field, SecretStr, field_validator
from yarl import URL

from mess.errors import EndpointDown
from mess.options.base import Options
from mess.options.extras import required
from mess.options.secret import Part, Secret
from mess.steps.http import connection
from mess.steps.http.aiohttp_client import GuardedConnector
from mess.steps.http.answers import retry_after
from mess.steps.http.url import HttpUrl
from mess.telemetry.redact import beginning, learn, redact

_UNSAID = 300.0
"""Seconds for which a token is used if the token endpoint does not say how long it lasts."""
_EARLY = 30.0
"""How early a token is replaced before it expires, in seconds, since a request takes a while to arrive."""
_ANSWER = 64 * 1024
_REMEMBERED = 1000
"""How many tokens stay secret, and for how long after they expire: answers may still repeat an older one."""
_REMEMBERED_FOR = 3600.0
_LONGEST = 86400.0
"""Seconds after which a token is replaced, however long it lasts."""
_SHOWN = 300  # characters of an answer shown in a message
# parameters that say what a token is for (RFC 8707); all others may be secret
_PUBLIC = frozenset({"audience", "resource"})
_TAKEN = frozenset({"grant_type", "client_id", "client_secret", "scope"})

# RFC 6749, 5.2
_REMEDIES = {
    "invalid_client": "it does not accept client_id and client_secret, or not in this way (client_auth)",
    "unauthorized_client": "it does not allow this client the client_credentials grant; enable it there",
    "invalid_scope": "it does not grant this client this scope; check scope and parameters",
    "invalid_target": "it does not give this client a token for this audience; check parameters",
    "invalid_request": "the request lacks something or contains too much; check scope, parameters and client_auth",
}


def _of_parameters(value: Any) -> Iterator[Part]:
    if isinstance(value, Mapping):
        for name, given in value.items():
            texts = given if isinstance(given, (list, tuple)) else [given]
            yield from (Part(text, own=False) for text in texts if isinstance(text, str) and name not in _PUBLIC)


class OAuth2(Options):
    """OAuth 2.0 client credentials: tokens from a token endpoint. Each is used until shortly before it expires, and
    replaced once if the endpoint answers 401. `ca`, `client_certificate` and `verify` also apply to the token endpoint.
    Needs `pip install 'mess[oauth2]'`."""

    token_url: HttpUrl
    """The token endpoint's URL."""
    client_id: str
    """The client's id."""
    client_secret: SecretStr = Field(min_length=1)
    """The client's secret."""
    scope: str | None = None
    """The scope to request; separate several with spaces."""
    parameters: Annotated[dict[str, str | tuple[str, ...]], Secret(_of_parameters)] = Field(
        default_factory=dict, repr=False
    )
    """More parameters of the token request, such as `audience` or `resource`."""
    client_auth: Literal["basic", "body"] = "basic"
    """How the client authenticates: with HTTP basic authentication, or in the request's body."""

    @field_validator("token_url")
    @classmethod
    def _no_user(cls, value: str) -> str:
        if URL(value).raw_user is not None or URL(value).raw_password is not None:
            raise ValueError("cannot contain a user and password; use client_id and client_secret")
        return value

    @field_validator("parameters")
    @classmethod
    def _not_ours(cls, value: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(_TAKEN & set(value)):
            remedy = "there are options for them, and grant_type is always client_credentials"
            raise ValueError(f"{', '.join(taken)} cannot be set here: {remedy}")
        return value


class Tokens:
    """Requests tokens, caches the valid one, and makes only one request at a time, however many callers wait.

    `timeout` is the number of seconds that the token endpoint may take; `clock` returns seconds and measures the age of
    tokens. Raises ConfigError if oauthlib is not installed.
    """

    def __init__(
        self, options: OAuth2, tls: ssl.SSLContext, timeout: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        with required("oauth2", "OAuth 2.0", "auth.oauth2"):
            from oauthlib.oauth2 import BackendApplicationClient
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
        """The source of the tokens, without secrets."""
        return str(self._url.origin())

    async def authorization(self) -> str:
        """The value of the `Authorization` header. Raises EndpointDown if no token is available."""
        if self._token is not None and self._clock() < self._until:
            return self._token
        if self._flight is None:
            self._flight = asyncio.create_task(self._fetch())
            self._flight.add_done_callback(self._landed)
        # A caller that stops waiting does not cancel the request for the others.
        return await asyncio.shield(self._flight)

    def forget(self, authorization: str) -> None:
        """Stop using this token, which the endpoint has rejected. A token that has replaced it in the meantime
        stays."""
        if self._token == authorization:
            self._token = None

    async def close(self) -> None:
        """Stop requesting tokens."""
        if self._flight is not None:
            self._flight.cancel()
            await asyncio.wait([self._flight])

    def _landed(self, flight: asyncio.Task[str]) -> None:
        self._flight = None
        if not flight.cancelled():
            flight.exception()  # mark as retrieved, even if nobody is waiting any more

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
        # Use a separate session: the endpoint's headers must not reach the token endpoint.
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

        strange = f"its answer ({status}) contains no token; is token_url correct?"
        # Do not chain the cause: both the answer and the error about it may contain secrets.
        try:
            found = self._client.parse_request_body_response(body)
        except MissingTokenError:
            raise self._down(strange) from None
        except OAuth2Error as error:
            # If the answer gives no lifetime, oauthlib guesses, and not always well.
            description = error.description if error.description != type(error).description else None
            raise self._down(self._said(error.error, description)) from None
        except Exception:  # oauthlib assumes, among other things, that JSON is an object
            raise self._down(strange) from None
        token, kind, lifetime = found["access_token"], found.get("token_type"), found.get("expires_in")
        if not 200 <= status < 300 or not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]+", token):
            raise self._down(strange)
        if kind is not None and str(kind).lower() != "bearer":
            raise self._down("its tokens are not of type Bearer, the only type that is supported")
        if not isinstance(lifetime, (int, float)) or not lifetime > 0:
            return token, _UNSAID
        return token, min(lifetime, _LONGEST)

    def _said(self, code: str | None, description: str | None) -> str:
        """Why there is no token, in the token endpoint's words, and how to fix it."""
        text = f"it answers {code}" + (f" ({description})" if description else "")
        text = re.sub(r"[^ -~]", "?", beginning(text, _SHOWN))
        remedy = _REMEDIES.get(str(code))
        return f"{text}: {remedy}" if remedy else text

    def _down(self, reason: str, wait: float | None = None) -> EndpointDown:
        return EndpointDown(f"no token from {self.origin}: {reason}", wait, shared=True)


def _basic(client_id: str, secret: str) -> str:
    """HTTP basic authentication, with both parts escaped first (RFC 6749, 2.3.1). The value is redacted from now on."""
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    encoded = base64.b64encode(pair.encode()).decode()
    learn(pair, encoded)
    return f"Basic {encoded}"
