"""The http step: sends events as webhooks."""

from __future__ import annotations

import io
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, ClassVar, Literal

import aiohttp
from multidict import CIMultiDict, istr
from pydantic import AfterValidator, Field
from yarl import URL

import mess
from mess.errors import Ambiguous, BatchError, DeliveryError, EndpointDown
from mess.event import Event
from mess.formats.base import Envelope
from mess.formats.body import Shape
from mess.formats.envelope import Format
from mess.options import insecure
from mess.options.base import Options
from mess.options.secret import Secret, names_a_secret, of_headers
from mess.options.tls import TlsOptions
from mess.options.values import Duration, Size
from mess.steps.base import DEFAULT_LANES, MINI_BATCH_EVENTS, Context, Preview, Reading, Sink, StepConfig, readings
from mess.steps.http import connection
from mess.steps.http.aiohttp_client import GuardedConnector, guarded_by
from mess.steps.http.answers import Answers, failure
from mess.steps.http.auth import Auth, authorization
from mess.steps.http.oauth2 import Tokens
from mess.steps.http.partition import partition
from mess.steps.http.signing import Sign
from mess.steps.http.url_template import HttpUrlTemplate, UrlTemplate
from mess.telemetry.attempts import current

# Header names that aiohttp need not convert again for every request.
_ID, _TIMESTAMP, _SIGNATURE = istr("webhook-id"), istr("webhook-timestamp"), istr("webhook-signature")
_REPLAY, _AUTHORIZATION = istr("mess-replay"), istr("Authorization")
_DOCUMENT, _BACKFILL, _EPOCH = istr("mess-document"), istr("mess-backfill"), istr("mess-epoch")
_BODY_READ = 64 * 1024
_WRITTEN_AT_ONCE = 1024 * 1024  # aiohttp sends larger bodies from a file, in pieces, so that other tasks get their turn
_KEEP_ALIVE = 4.0  # seconds; many servers close an idle connection after five


def _headers(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):  # RFC 9110, 5.6.2
            raise ValueError("a header name may contain letters, digits, - _ . and similar characters, but no spaces")
        if re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value):
            raise ValueError(f"the value of {name} contains a line break or another control character; remove it")
        if name.lower() == _EPOCH:
            raise ValueError(f"{name} cannot be set: it says which process of the relay sends a request")
    return headers


Answer = tuple[int, Mapping[str, str], bytes]
"""An answer's status, its headers, and the beginning of its body."""
Request = Callable[[URL, str, bytes, dict[str, str]], Awaitable[Answer]]
"""Sends a request to a URL, given its id, its body, and headers about its events."""


class Batch(Options):
    """Several events in one request: `{"id": …, "events": [{"id": …, "body": …, "document": …}, …]}`. Events are never
    delayed to fill a batch; it contains whatever is waiting."""

    max_events: int = Field(MINI_BATCH_EVENTS, ge=1, le=MINI_BATCH_EVENTS)
    """The maximum number of events in a request."""
    max_bytes: Size = 1024 * 1024
    """The maximum total size of the events in a request, in bytes; a larger event goes alone."""


class HttpConfig(StepConfig, TlsOptions, Format):
    """Sends each event to an endpoint as JSON, and passes it on unchanged when the endpoint has accepted it (any 2xx).

    Every request carries the headers of Standard Webhooks: `webhook-id`, the same for every attempt, and
    `webhook-timestamp`; with `sign` also `webhook-signature`. If the endpoint is down, events wait until it is back. If
    it refuses an event (400, 413, 422 and other 4xx), `on_failure` decides.
    """

    name: ClassVar[str] = "http"

    endpoint: HttpUrlTemplate
    """The URL to send to, whose path and query are a template: `https://example.com/hooks/{db}/{collection}`. An event
    that lacks a value is refused, unless the placeholder has a default: `{fullDocument.region|eu}`."""
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    """The request's method."""
    headers: Annotated[dict[str, str], AfterValidator(_headers), Secret(of_headers)] = Field(
        default_factory=dict, repr=False
    )
    """Additional headers. Values that come from a variable or a file, and values of headers that carry credentials
    (`Authorization`, `Cookie`, `X-Api-Key` and the like), are never shown."""
    timeout: Duration = Field(30.0, gt=0)
    """How long a request may take, from connecting to the last byte of the answer."""
    batch: Batch | None = None
    """Several events in one request. Default: one request for each event."""
    sign: Sign | None = None
    """Standard Webhooks signatures. Default: none."""
    answers: Answers = Answers()
    """What the endpoint's answers mean."""
    auth: Auth | None = None
    """Credentials."""

    def describe(self) -> str:
        """The step and the endpoint's host, without path and query, which are often secret in webhooks."""
        endpoint = UrlTemplate(self.endpoint)
        more = not endpoint.constant or endpoint.constant_segments or endpoint.constant_query
        return f"http {endpoint.origin.origin()}{'/…' if more else ''}"

    def named_values(self) -> Iterator[Reading]:
        """See `StepConfig`."""
        return readings(("endpoint",), self.endpoint, "refused")

    def body_after(self, body: Shape | None) -> Shape | None:
        """Events pass through unchanged."""
        return body

    def warnings(self) -> Iterator[tuple[str, str]]:
        """See `StepConfig.warnings`."""
        yield from self.tls_warnings()
        url, oauth2 = UrlTemplate(self.endpoint).origin, self.auth.oauth2 if self.auth else None
        given = self.auth or url.user or url.password or insecure.hold_credentials(self.headers)
        if given and (warning := insecure.plain_http(str(url), "credentials are")):
            yield "endpoint", warning
        if oauth2 and (warning := insecure.plain_http(oauth2.token_url, "client_id and client_secret are")):
            yield "auth.oauth2.token_url", warning

    def build(self, context: Context) -> Http:
        """Build the step. Raises ConfigError if `ca`, `client_certificate` or a private key in `sign` cannot be used,
        or if a package that `auth` or `sign` needs is not installed."""
        made = self.tls_context(context.directory)
        tokens = self.auth.tokens(made, self.timeout) if self.auth else None
        return Http(self, self.envelope(context.relay), made, tokens)


class Http(Sink):
    """See `HttpConfig`."""

    def __init__(
        self, config: HttpConfig, envelope: Envelope, tls: ssl.SSLContext, tokens: Tokens | None = None
    ) -> None:
        self.carries = envelope.carries
        self.max_events = config.batch.max_events if config.batch else 1
        # Fewer lanes fill batches better, and four batches of 500 events in flight are plenty.
        self.lanes = 4 if config.batch else DEFAULT_LANES
        self._config = config
        self._batch = config.batch
        self._envelope = envelope
        self._meaning = config.answers.meaning()
        self._event_may_be_cause = config.answers.event_may_be_cause
        self._content_type = envelope.batch_content_type if self._batch else envelope.content_type
        self._sign = config.sign.signer() if config.sign else None
        self._endpoint = UrlTemplate(config.endpoint)
        self.destination = None if self._endpoint.constant else self._destination
        self._tls = tls
        self._tokens = tokens
        self._request: Request = self._plainly if tokens is None else partial(self._with_token, tokens)
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Create the session; connections are made on demand."""
        config = self._config
        headers = CIMultiDict({"Content-Type": self._content_type, "User-Agent": f"mess/{mess.__version__}"})
        headers.update(config.headers)
        if credentials := authorization(config.auth, self._endpoint.origin):
            headers["Authorization"] = credentials
        # The lanes limit how many requests run at a time; the pool need not.
        self._session = aiohttp.ClientSession(
            connector=GuardedConnector(limit=0, keepalive_timeout=_KEEP_ALIVE, ssl=self._tls),
            request_class=guarded_by(self.leadership.check),
            cookie_jar=aiohttp.DummyCookieJar(),
            # What is left after so long would be of no use, and this way it is known which of the two took it. Rounded
            # up to whole seconds, as aiohttp would, they might be the same.
            timeout=aiohttp.ClientTimeout(
                total=config.timeout, connect=0.95 * config.timeout, ceil_threshold=config.timeout
            ),
            headers=headers,
            auto_decompress=False,
            skip_auto_headers=("Accept-Encoding",),
        )

    async def check(self) -> str:
        """Connect to the endpoint without sending anything, and get a token if it needs one. The result contains the
        public keys that verify signatures."""
        found = await connection.attempt(self._endpoint.origin, self._tls, self._config.timeout)
        if self._tokens is not None:
            await self._tokens.authorization()
            found += f", {self._tokens.origin} gives a token for it"
        if self._sign is not None and self._sign.public_keys:
            found += f"; public key for its signatures: {', '.join(self._sign.public_keys)}"
        return found

    async def close(self) -> None:
        """Close all connections."""
        if self._tokens is not None:
            await self._tokens.close()
        if self._session is not None:
            await self._session.close()

    def prepare(self, events: Sequence[Event]) -> None:
        """Encode the bodies in advance."""
        encode = self._envelope.encode
        for event in events:
            try:
                event.encode(encode)
            except Exception:  # `deliver` refuses what cannot be encoded, and gives the reason
                continue

    def preview(self, event: Event) -> Preview:
        """See `Sink`. With `batch`, too, the body is the event's own: how many others share its request depends on what
        is waiting."""
        found = partition([event], self._endpoint.url or self._endpoint, self._envelope.encode, 1, 0)
        for error in found.errors.values():
            raise error
        [part] = found.parts
        headers = CIMultiDict({"Content-Type": self._content_type})
        headers.update({name: text for name, text in self._config.headers.items() if not names_a_secret(name)})
        headers.update(_about([event], batch=self._batch is not None))
        return Preview(part.bodies[0], {"url": str(part.url)}, headers=headers, varying=self._envelope.varying)

    def span_attributes(self, events: Sequence[Event]) -> dict[str, str | int]:
        """See `Sink`. Without path and query, which are often secret in webhooks."""
        url = self._endpoint.origin
        return {
            "http.request.method": self._config.method,
            "url.scheme": url.scheme,
            "server.address": url.host or "",
            "server.port": url.port or 0,
        }

    async def deliver(self, events: Sequence[Event]) -> None:
        """Send the events, in as few requests as `batch` and the endpoints allow, one request after another.

        After a failed request, no more is sent to the same endpoint, nor to another endpoint with an event of the same
        ordering key: a retry would reverse the order.
        """
        max_bytes = self._batch.max_bytes if self._batch else 0
        url = self._endpoint.url or self._endpoint
        found = partition(events, url, self._envelope.encode, self.max_events, max_bytes)
        errors, untried = found.errors, found.untried
        if len(found.parts) == 1 and not errors:
            [part] = found.parts
            await self._send(part.url, events, list(part.bodies.values()))
            return
        failed: set[URL] = set()
        stuck: set[int] = set()
        for part in found.parts:
            bodies = part.bodies
            if failed:
                late = {index for index in bodies if part.url in failed or events[index].ordering_key in stuck}
                untried += late
                stuck.update(events[index].ordering_key for index in late)
                bodies = {index: body for index, body in bodies.items() if index not in late}
            if bodies:
                try:
                    await self._send(part.url, [events[index] for index in bodies], list(bodies.values()))
                except DeliveryError as error:
                    errors |= dict.fromkeys(bodies, error)
                    failed.add(part.url)
                    stuck.update(events[index].ordering_key for index in bodies)
        causes = list(errors.values())
        if len(causes) == len(events) and all(cause is causes[0] for cause in causes):
            raise causes[0]
        if errors:
            raise BatchError(errors, untried=[events[index] for index in sorted(untried)])

    def _destination(self, event: Event) -> str:
        try:
            return str(self._endpoint(event))
        except Exception:  # `deliver` refuses the event and gives the reason
            return ""

    async def _send(self, url: URL, events: Sequence[Event], bodies: Sequence[bytes]) -> None:
        """Send events, in one request if there are several."""
        first = events[0]
        if self._batch:
            identity, body = self._envelope.join(events, bodies)
        else:
            identity, body = first.id, bodies[0]
        about = _about(events, batch=self._batch is not None)
        if (attempt := current.get()) is not None:
            about |= attempt.headers
        try:
            status, headers, answer = await self._request(url, identity, body, about)
        except aiohttp.ConnectionTimeoutError as error:
            raise EndpointDown("the connection could not be made in time", shared=True) from error
        except TimeoutError as error:
            raise Ambiguous(f"no answer within {self._config.timeout:g} s") from error
        except aiohttp.ClientError as error:
            raise connection.failure(error, url) from error
        if attempt is not None:
            attempt.attributes["http.response.status_code"] = status
        meaning = self._meaning(status)
        if meaning != "done":
            may_be_cause = self._event_may_be_cause(status)
            raise failure(meaning, status, headers, answer, event_may_be_cause=may_be_cause)

    async def _with_token(self, tokens: Tokens, url: URL, identity: str, body: bytes, about: dict[str, str]) -> Answer:
        """Send a request with a token; after a 401, once more with a new token. Returns the answer."""
        authorization = await tokens.authorization()
        found = await self._plainly(url, identity, body, about, authorization)
        if found[0] == 401:
            tokens.forget(authorization)
            found = await self._plainly(url, identity, body, about, await tokens.authorization())
        return found

    async def _plainly(
        self, url: URL, identity: str, body: bytes, about: dict[str, str], authorization: str | None = None
    ) -> Answer:
        """Send a request and return the answer."""
        try:
            return await self._once(url, identity, body, about, authorization)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # The endpoint closed a kept-alive connection just as it was reused.
            return await self._once(url, identity, body, about, authorization)

    async def _once(
        self, url: URL, identity: str, body: bytes, about: dict[str, str], authorization: str | None
    ) -> Answer:
        if self._session is None:
            raise AssertionError("the step is not open")
        timestamp = str(int(time.time()))
        headers: dict[str, str] = {_ID: identity, _TIMESTAMP: timestamp, **about}
        if epoch := self.leadership.epoch:
            headers[_EPOCH] = str(epoch)
        if self._sign is not None:
            headers[_SIGNATURE] = self._sign(identity, timestamp, body)
        if authorization is not None:
            headers[_AUTHORIZATION] = authorization
        data = body if len(body) <= _WRITTEN_AT_ONCE else io.BytesIO(body)
        response = await self._session.request(
            self._config.method, url, data=data, headers=headers, allow_redirects=False
        )
        # If there was no body, which is usual, the connection is already back in the pool.
        if response.content.at_eof():
            return response.status, response.headers, b""
        async with response:
            return response.status, response.headers, await connection.beginning(response, _BODY_READ)


def _about(events: Sequence[Event], *, batch: bool) -> dict[str, str]:
    """The headers that say what the events of a request are."""
    first = events[0]
    headers: dict[str, str] = {}
    if not batch and (document := first.document):
        headers[_DOCUMENT] = document
    if first.backfill and all(event.backfill == first.backfill for event in events):
        headers[_BACKFILL] = first.backfill
    if first.replay:
        headers[_REPLAY] = "true"
    return headers
