"""The http step: events as webhooks."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import aiohttp
from multidict import CIMultiDict, istr
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator
from yarl import URL

import mess
from mess import answers, envelope
from mess.errors import Ambiguous, BatchError, ConfigError, DeliveryError, EndpointDown, Problem, Refused
from mess.event import Event
from mess.step import DEFAULT_LANES, MINI_BATCH_EVENTS, Context, Sink, StepConfig
from mess.values import Duration, Size

# Names that aiohttp need not fold again for every request.
_ID, _TIMESTAMP, _REPLAY = istr("webhook-id"), istr("webhook-timestamp"), istr("mess-replay")
_BODY_READ = 64 * 1024
_BODY_SHOWN = 300
_KEEP_ALIVE = 4.0  # seconds; many servers close an idle connection after five


def _http_url(value: str) -> str:
    try:
        url = URL(value)
    except ValueError as error:
        raise ValueError("not a URL; write it like https://example.com/hook") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("not an http or https URL; write it like https://example.com/hook")
    return value


class Batch(BaseModel):
    """Several events in one request: `{"id": …, "events": [{"id": …, "body": …}, …]}`. Events are never held back to
    fill a batch: it takes what waits."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    max_events: int = Field(MINI_BATCH_EVENTS, ge=1, le=MINI_BATCH_EVENTS)
    """How many events a request carries at the most."""
    max_bytes: Size = 1024 * 1024
    """How many bytes the events of a request have together at the most; a larger event goes alone."""


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
    def _one_kind(self) -> Auth:
        if (self.basic is None) == (self.bearer is None):
            raise ValueError("give either basic or bearer")
        return self


class HttpConfig(StepConfig):
    """Sends each event to an endpoint as JSON, and hands it on unchanged when the endpoint has taken it (any 2xx).

    Every request carries the headers of Standard Webhooks: `webhook-id`, the same on every attempt, and
    `webhook-timestamp`. An endpoint that is down holds the events back until it returns; one that refuses an event
    (400, 413, 422 and other 4xx) leaves it to `on_failure`.
    """

    name: ClassVar[str] = "http"

    endpoint: Annotated[str, AfterValidator(_http_url)]
    """The URL to send to."""
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    """The request's method."""
    headers: dict[str, str] = Field(default_factory=dict)
    """More headers. Their values are never shown."""
    timeout: Duration = 30.0
    """How long a request may take, from connecting to the answer's last byte."""
    batch: Batch | None = None
    """Several events in one request. Default: a request for each event."""
    ca: str | None = None
    """A file of certificates (PEM) to trust instead of the system's; a relative path starts at the config file."""
    verify: bool = True
    """Whether the endpoint's certificate is checked. Turn it off for tests only."""
    auth: Auth | None = None
    """Credentials."""

    def describe(self) -> str:
        """The step and the endpoint's host; paths and queries of webhooks often are secrets."""
        url = URL(self.endpoint)
        return f"http {url.origin()}{'/…' if url.path_qs not in ('', '/') else ''}"

    def build(self, context: Context) -> Http:
        """Make the step. Raises ConfigError when `ca` cannot be read."""
        return Http(self, self._ssl(context.directory))

    def _ssl(self, directory: Path) -> ssl.SSLContext | bool:
        if not self.verify:
            return False
        if self.ca is None:
            return True
        path = directory / self.ca
        try:
            return ssl.create_default_context(cafile=path)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError([Problem(f"no certificates can be read from {path}: {error}", "ca")]) from error


class Http(Sink):
    """See `HttpConfig`."""

    def __init__(self, config: HttpConfig, ssl_context: ssl.SSLContext | bool) -> None:
        self.max_events = config.batch.max_events if config.batch else 1
        # Fewer lanes fill batches better, and four of 500 events are plenty on their way.
        self.lanes = 4 if config.batch else DEFAULT_LANES
        self._config = config
        self._ssl = ssl_context
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the session; connections are made when they are needed."""
        config = self._config
        headers = CIMultiDict({"Content-Type": "application/json", "User-Agent": f"mess/{mess.__version__}"})
        headers.update(config.headers)
        auth: aiohttp.BasicAuth | None = None
        if config.auth and config.auth.basic:
            basic = config.auth.basic
            auth = aiohttp.BasicAuth(basic.username, basic.password.get_secret_value(), encoding="utf-8")
        elif config.auth and config.auth.bearer:
            headers["Authorization"] = f"Bearer {config.auth.bearer.get_secret_value()}"
        self._url = URL(config.endpoint)
        # Lanes bound how many requests run at a time; the pool need not.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE, ssl=self._ssl),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=config.timeout),
            headers=headers,
            auth=auth,
            auto_decompress=False,
            skip_auto_headers=("Accept-Encoding",),
        )

    async def close(self) -> None:
        """Close all connections."""
        if self._session is not None:
            await self._session.close()

    def prepare(self, events: Sequence[Event]) -> None:
        """Work out ids and bodies."""
        for event in events:
            try:
                event.encode(envelope.event)
                event.id  # noqa: B018 - worked out when first asked for
            except Exception:  # `deliver` refuses what cannot be written, and tells why
                continue

    async def deliver(self, events: Sequence[Event]) -> None:
        """Send the events, in as few requests as `batch` allows, one request after another."""
        if self._config.batch is None:
            for index, event in enumerate(events):
                try:
                    await self._send(event.id, event.encode(envelope.event), event.replay)
                except DeliveryError as error:
                    raise BatchError(dict.fromkeys(range(index, len(events)), error)) from error
            return
        bodies = [event.encode(envelope.event) for event in events]
        errors: dict[int, Exception] = {}
        for start, end in _parts(bodies, self._config.batch.max_bytes):
            try:
                errors.update(await self._send_batch(events, bodies, start, end))
            except DeliveryError as error:
                # What comes later waits behind it, or a retry would invert the order.
                errors.update(dict.fromkeys(range(start, len(events)), error))
                break
        if errors:
            raise BatchError(errors)

    async def _send_batch(
        self, events: Sequence[Event], bodies: Sequence[bytes], start: int, end: int
    ) -> dict[int, Exception]:
        """Send `events[start:end]` as one batch; one that is refused is halved until the refused events are found.

        Returns the refused ones.
        """
        identity, body = envelope.batch([event.id for event in events[start:end]], bodies[start:end])
        try:
            await self._send(identity, body, events[start].replay)
        except Refused as error:
            if end - start == 1:
                return {start: error}
            middle = (start + end) // 2
            refused = await self._send_batch(events, bodies, start, middle)
            try:
                return refused | await self._send_batch(events, bodies, middle, end)
            except DeliveryError as later:
                return refused | dict.fromkeys(range(middle, len(events)), later)
        return {}

    async def _send(self, identity: str, body: bytes, replay: bool) -> None:
        headers: dict[str, str] = {_ID: identity, _TIMESTAMP: str(int(time.time()))}
        if replay:
            headers[_REPLAY] = "true"
        try:
            try:
                status, answer, text = await self._request(headers, body)
            except aiohttp.ClientConnectorError:
                raise
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                # The endpoint closed a kept-alive connection just as it was used again.
                status, answer, text = await self._request(headers, body)
        except aiohttp.ConnectionTimeoutError as error:
            raise EndpointDown("the connection could not be made in time") from error
        except TimeoutError as error:
            raise Ambiguous(f"no answer within {self._config.timeout:g} s") from error
        except aiohttp.ClientError as error:
            raise EndpointDown(f"{type(error).__name__}: {error}") from error
        if 200 <= status < 300:
            return
        raise answers.failure(status, answer, text)

    async def _request(self, headers: dict[str, str], body: bytes) -> tuple[int, Any, str]:
        if self._session is None:
            raise AssertionError("the step is not open")
        response = await self._session.request(
            self._config.method, self._url, data=body, headers=headers, allow_redirects=False
        )
        # Without a body, which is the rule, the connection has gone back to the pool by itself.
        if response.content.at_eof():
            return response.status, response.headers, ""
        async with response:
            answer = await self._read(response)
        return response.status, response.headers, answer[:_BODY_SHOWN].decode("utf-8", "replace").strip()

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        """The beginning of the answer. The status is what counts: an answer that breaks off behind it is no failure."""
        answer = b""
        try:
            while chunk := await response.content.readany():
                answer += chunk
                if len(answer) > _BODY_READ:
                    response.close()  # a connection with so much left to read is of no further use
                    break
        except (aiohttp.ClientError, TimeoutError):
            response.close()
        return answer


def _parts(bodies: Sequence[bytes], max_bytes: int) -> list[tuple[int, int]]:
    """Where to cut so that no part is larger than `max_bytes`, unless it is a single body."""
    parts: list[tuple[int, int]] = []
    start = size = 0
    for index, length in enumerate(map(len, bodies)):
        if size + length > max_bytes and index > start:
            parts.append((start, index))
            start, size = index, 0
        size += length
    return [*parts, (start, len(bodies))]
