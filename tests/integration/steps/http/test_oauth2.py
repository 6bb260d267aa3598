"""Tokens for the http step, from a real token endpoint: kept, replaced, asked for once, and what is told when there is
none."""

from __future__ import annotations

import asyncio
import base64
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, unquote_plus

import pytest
import trustme
from aiohttp import web

from mess.errors import ConfigError, EndpointDown, Refused
from mess.steps.base import Context
from mess.steps.http.oauth2 import OAuth2, Tokens
from mess.steps.http.step import Http, HttpConfig
from tests.receiver import Answer, Receiver, Request, server_tls
from tests.secrets import learn_from
from tests.unit.fakes import make_event, make_events

SECRET = "s3cret +/%:é"
Answers = Callable[[int], web.Response]


class TokenEndpoint:
    """Gives `token-1`, `token-2`, … to who knows the secret; `answer` makes the answer for the number of the request.

    `asked` holds each request's form, `headers` their headers. A request waits for `gate`.
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = asyncio.Event()
        self.answer: Answers = lambda number: web.json_response(
            {"access_token": f"token-{number}", "token_type": "bearer", "expires_in": 3600}
        )
        self.port = 0
        self._tls = tls

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}/token"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_post("/token", self._give)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _give(self, request: web.Request) -> web.Response:
        form = await request.post()
        self.asked.append({name: form.getall(name) if len(form.getall(name)) > 1 else form[name] for name in form})
        self.headers.append(dict(request.headers))
        number = len(self.asked)
        self.waiting.set()
        await self.gate.wait()
        if self._who(request, form) != ("relay", SECRET):
            return web.json_response({"error": "invalid_client"}, status=401)
        return self.answer(number)

    @staticmethod
    def _who(request: web.Request, form: Any) -> tuple[str, str]:
        scheme, _, pair = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Basic":
            return form.get("client_id", ""), form.get("client_secret", "")
        name, _, secret = base64.b64decode(pair).decode().partition(":")
        return unquote_plus(name), unquote_plus(secret)


@pytest.fixture
async def endpoint() -> AsyncIterator[TokenEndpoint]:
    made = TokenEndpoint()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as found:
        yield found


@asynccontextmanager
async def opened(
    receiver: Receiver,
    token_url: str,
    directory: Path | None = None,
    options: dict[str, Any] | None = None,
    **oauth2: Any,
) -> AsyncIterator[Http]:
    config = {
        "endpoint": receiver.url,
        "timeout": "5s",
        "auth": {"oauth2": {"token_url": token_url, "client_id": "relay", "client_secret": SECRET, **oauth2}},
        **(options or {}),
    }
    learn_from(HttpConfig, config)
    step = HttpConfig.model_validate(config).build(Context(directory=directory or Path()))
    await step.open()
    try:
        yield step
    finally:
        await step.close()


def sent(receiver: Receiver) -> list[str]:
    return [request.headers["authorization"] for request in receiver.requests]


def accepting(*tokens: str) -> Callable[[Request], Answer]:
    wanted = {f"Bearer {token}" for token in tokens}
    return lambda request: Answer(200 if request.headers["authorization"] in wanted else 401)


# Asking


async def test_one_token_serves_all_requests(endpoint: TokenEndpoint, receiver: Receiver) -> None:
    async with opened(receiver, endpoint.url) as step:
        for event in make_events(5):
            await step.process([event])
    assert sent(receiver) == ["Bearer token-1"] * 5
    assert endpoint.asked == [{"grant_type": "client_credentials"}]


async def test_however_many_requests_wait_for_it_it_is_asked_for_once(
    endpoint: TokenEndpoint, receiver: Receiver
) -> None:
    endpoint.gate.clear()
    async with opened(receiver, endpoint.url) as step:
        work = [asyncio.create_task(step.process([event])) for event in make_events(16)]
        await endpoint.waiting.wait()
        work.pop().cancel()  # whoever stops waiting leaves the others their token
        await asyncio.sleep(0)
        endpoint.gate.set()
        await asyncio.gather(*work)
    assert len(endpoint.asked) == 1
    assert sent(receiver) == ["Bearer token-1"] * 15


@pytest.mark.parametrize("client_auth", ["basic", "body"])
async def test_the_client_says_who_it_is_and_what_it_wants(
    endpoint: TokenEndpoint, receiver: Receiver, client_auth: str
) -> None:
    more = {"audience": "https://shop.example.com/", "resource": ["urn:a", "urn:b"]}
    async with opened(
        receiver, endpoint.url, client_auth=client_auth, scope="events:write other", parameters=more
    ) as step:
        await step.process([make_event()])
    [form] = endpoint.asked
    own = {"client_id": "relay", "client_secret": SECRET} if client_auth == "body" else {}
    assert form == {"grant_type": "client_credentials", "scope": "events:write other", **more, **own}
    assert ("Authorization" in endpoint.headers[0]) == (client_auth == "basic")


async def test_what_is_meant_for_the_endpoint_alone_is_not_told_to_the_token_endpoint(
    endpoint: TokenEndpoint, receiver: Receiver
) -> None:
    async with opened(receiver, endpoint.url, options={"headers": {"X-Key": "abc", "Authorization": "mine"}}) as step:
        await step.process([make_event()])
    assert "X-Key" not in endpoint.headers[0]
    assert receiver.requests[0].headers["x-key"] == "abc"
    assert sent(receiver) == ["Bearer token-1"]


async def test_the_steps_tls_holds_for_the_token_endpoint_too(receiver: Receiver, tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    secure = TokenEndpoint(server_tls(authority.issue_cert("127.0.0.1")))
    await secure.start()
    try:
        async with opened(receiver, secure.url, tmp_path, {"ca": "ca.pem"}) as step:
            await step.process([make_event()])
        async with opened(receiver, secure.url, tmp_path) as step:
            with pytest.raises(EndpointDown, match=r"no token from https://127.*unknown authority"):
                await step.process([make_event()])
    finally:
        await secure.stop()


# Replacing


@pytest.mark.parametrize(
    ("says", "holds", "not_any_more"),
    [
        ({"expires_in": 3600}, 3569, 3571),
        ({"expires_in": "100"}, 89, 91),
        ({"expires_in": 10.5}, 8.9, 9.1),
        ({}, 269, 271),
        ({"expires_in": 0}, 269, 271),
        ({"expires_in": -5}, 269, 271),
        ({"expires_in": None}, 269, 271),
        ({"expires_in": 10**400}, 86369, 86371),
    ],
)
async def test_a_token_is_replaced_shortly_before_its_end(
    endpoint: TokenEndpoint, says: dict[str, Any], holds: float, not_any_more: float
) -> None:
    endpoint.answer = lambda number: web.json_response({"access_token": f"token-{number}", **says})
    now = 1000.0
    options = OAuth2(token_url=endpoint.url, client_id="relay", client_secret=SECRET)  # type: ignore[arg-type]
    tokens = Tokens(options, ssl.create_default_context(), 5, lambda: now)
    assert await tokens.authorization() == "Bearer token-1"
    now = 1000 + holds
    assert await tokens.authorization() == "Bearer token-1"
    now = 1000 + not_any_more
    assert await tokens.authorization() == "Bearer token-2"


async def test_a_token_that_the_endpoint_refuses_is_replaced_once(endpoint: TokenEndpoint, receiver: Receiver) -> None:
    receiver.respond = accepting("token-1")
    async with opened(receiver, endpoint.url) as step:
        await step.process([make_event(0)])
        receiver.respond = accepting("token-2")
        await step.process([make_event(1)])
        await step.process([make_event(2)])
    assert sent(receiver) == [f"Bearer token-{number}" for number in (1, 1, 2, 2)]
    assert receiver.requests[1].headers["webhook-id"] == receiver.requests[2].headers["webhook-id"]
    assert len(endpoint.asked) == 2


async def test_requests_that_are_refused_at_a_time_share_the_new_token(
    endpoint: TokenEndpoint, receiver: Receiver
) -> None:
    receiver.respond = accepting("token-2")
    async with opened(receiver, endpoint.url) as step:
        await asyncio.gather(*(step.process([event]) for event in make_events(16)))
    assert len(endpoint.asked) == 2
    assert len(receiver.accepted) == 16


async def test_a_second_refusal_means_what_401_means(endpoint: TokenEndpoint, receiver: Receiver) -> None:
    receiver.respond = accepting()
    async with opened(receiver, endpoint.url) as step:
        with pytest.raises(EndpointDown, match="answered 401"):
            await step.process([make_event()])
    assert len(receiver.requests) == len(endpoint.asked) == 2


async def test_no_other_answer_costs_a_token(endpoint: TokenEndpoint, receiver: Receiver) -> None:
    receiver.answer = Answer(403)
    async with opened(receiver, endpoint.url) as step:
        with pytest.raises(EndpointDown):
            await step.process([make_event()])
    assert (len(receiver.requests), len(endpoint.asked)) == (1, 1)


# When there is none


def said(*, status: int = 400, **body: Any) -> Answers:
    return lambda _: web.json_response(body, status=status)


STRANGE = r"its answer \(\d+\) contains no token; is token_url correct\?"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (said(error="invalid_scope", error_description="no such scope"), r"invalid_scope \(no such scope\): .*scope"),
        (said(error="unauthorized_client"), "answers unauthorized_client: .*enable it there"),
        (said(error="odd_one", error_description="\x00 ☃"), r"answers odd_one \(\? \?\)"),
        (said(error={"code": 5}), r"answers \{'code': 5\}"),
        (said(status=200, error="invalid_request"), "answers invalid_request: "),
        (lambda _: web.Response(text="<html>hello</html>"), STRANGE),
        (lambda _: web.Response(text="not found", status=404), STRANGE),
        (lambda _: web.Response(body=b"\xff\xfe", status=200), STRANGE),
        (lambda _: web.Response(body=b"x" * 1_000_000, status=200), STRANGE),
        (lambda _: web.json_response(["access_token"]), STRANGE),
        (lambda _: web.json_response(7), STRANGE),
        (said(status=200, access_token=""), STRANGE),
        (said(status=200, access_token=5), STRANGE),
        (said(status=200, access_token="a\r\nX-Evil: 1"), STRANGE),
        (said(status=200, access_token="a", expires_in="soon"), STRANGE),
        (said(status=400, access_token="a"), STRANGE),
        (said(status=200, access_token="a", token_type="DPoP"), "not of type Bearer"),
        (lambda _: web.Response(status=302, headers={"Location": "/x"}), "a redirect; name the final URL in token_url"),
        (lambda _: web.Response(status=500, text="oops"), "it answers 500"),
    ],
)
async def test_a_token_endpoint_that_gives_none_holds_the_events_and_names_the_remedy(
    endpoint: TokenEndpoint, receiver: Receiver, answer: Answers, message: str
) -> None:
    endpoint.answer = answer
    async with opened(receiver, endpoint.url) as step:
        for work in (step.check, lambda: step.process([make_event()])):
            with pytest.raises(EndpointDown, match=rf"^no token from http://127\.0\.0\.1:\d+: .*{message}"):
                await work()
    assert receiver.requests == []


async def test_a_wrong_secret_is_told(endpoint: TokenEndpoint, receiver: Receiver) -> None:
    async with opened(receiver, endpoint.url, client_secret="wrong") as step:
        with pytest.raises(EndpointDown, match="invalid_client: it does not accept client_id and client_secret"):
            await step.process([make_event()])


async def test_a_token_endpoint_may_ask_for_patience(endpoint: TokenEndpoint, receiver: Receiver) -> None:
    endpoint.answer = lambda _: web.Response(status=429, headers={"Retry-After": "7"})
    async with opened(receiver, endpoint.url) as step:
        with pytest.raises(EndpointDown) as caught:
            await step.process([make_event()])
    assert caught.value.retry_after == 7


async def test_a_token_endpoint_that_is_away_is_told_and_asked_again_when_it_is_back(
    endpoint: TokenEndpoint, receiver: Receiver
) -> None:
    await endpoint.stop()
    async with opened(receiver, endpoint.url) as step:
        with pytest.raises(EndpointDown, match=r"no token from .*: nothing is listening at 127"):
            await step.process([make_event()])
        await endpoint.start()
        await step.process([make_event()])
    assert len(receiver.accepted) == 1


async def test_a_token_endpoint_that_does_not_answer_is_not_waited_for_longer_than_the_timeout(
    endpoint: TokenEndpoint, receiver: Receiver
) -> None:
    endpoint.gate.clear()
    async with opened(receiver, endpoint.url, options={"timeout": "200ms"}) as step:
        with pytest.raises(EndpointDown, match=r"no answer within 0\.2 s"):
            await step.process([make_event()])
        endpoint.gate.set()
        await step.process([make_event()])


async def test_closing_does_not_wait_for_a_token(endpoint: TokenEndpoint, receiver: Receiver) -> None:
    endpoint.gate.clear()
    async with opened(receiver, endpoint.url) as step:
        work = asyncio.create_task(step.process([make_event()]))
        await endpoint.waiting.wait()
        work.cancel()
    endpoint.gate.set()
    assert receiver.requests == []


# What is shown


async def test_the_check_gets_a_token_and_sends_nothing(endpoint: TokenEndpoint, receiver: Receiver) -> None:
    async with opened(receiver, endpoint.url) as step:
        found = await step.check()
    assert found == (
        f"http://127.0.0.1:{receiver.port} accepts connections, http://127.0.0.1:{endpoint.port} gives a token for it"
    )
    assert receiver.requests == []


async def test_neither_secret_nor_token_is_ever_shown(endpoint: TokenEndpoint, receiver: Receiver) -> None:
    echo = f"{SECRET} is not the secret, p4rameter no assertion, on3-two nothing for the-api"
    endpoint.answer = said(error="invalid_grant", error_description=echo, access_token="t0ken")
    parameters = {"assertion": "p4rameter", "several": ["on3-two", ""], "audience": "the-api"}
    async with opened(receiver, f"{endpoint.url}?key=k3y-of-url", parameters=parameters) as step:
        with pytest.raises(EndpointDown) as caught:
            await step.process([make_event()])
        shown = [str(caught.value), repr(caught.value.__cause__), repr(step.__dict__), repr(step._config)]
        basic = "Basic " + base64.b64encode(f"relay:{quote_plus(SECRET)}".encode()).decode()
        endpoint.answer = said(error="invalid_client", error_description=f"{basic} is unknown")
        with pytest.raises(EndpointDown, match=r"Basic \*\*\* is unknown"):
            await step.process([make_event()])
    for hidden in (SECRET, "t0ken", "p4rameter", "on3-two", "k3y-of-url"):
        assert not any(hidden in text for text in shown)
    assert "*** is not the secret, *** no assertion, *** nothing for the-api" in shown[0]


async def test_a_token_that_the_endpoint_repeats_is_not_shown(endpoint: TokenEndpoint, receiver: Receiver) -> None:
    receiver.respond = lambda request: Answer(422, body=f"no: {request.headers['authorization']}".encode())
    async with opened(receiver, endpoint.url) as step:
        with pytest.raises(Refused, match=r"no: Bearer \*\*\*$"):
            await step.process([make_event()])


# The option


OPTIONS = {"token_url": "https://example.com/token", "client_id": "a", "client_secret": "b"}


@pytest.mark.parametrize(
    ("auth", "message"),
    [
        ({"bearer": "x", "oauth2": OPTIONS}, "one of basic, bearer and oauth2"),
        ({}, "one of basic, bearer and oauth2"),
        ({"oauth2": {**OPTIONS, "token_url": "example.com"}}, "not an http or https URL"),
        ({"oauth2": {**OPTIONS, "token_url": "https://a:b@example.com"}}, "use client_id and client_secret"),
        ({"oauth2": {**OPTIONS, "client_secret": ""}}, r"oauth2\.client_secret"),
        ({"oauth2": {**OPTIONS, "parameters": {"scope": "x"}}}, "scope cannot be set here"),
    ],
)
def test_mistakes_of_the_config(auth: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        HttpConfig.model_validate({"endpoint": "https://example.com/", "auth": auth})


def test_without_oauthlib_the_config_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "oauthlib.oauth2", None)
    config = HttpConfig.model_validate({"endpoint": "https://example.com/", "auth": {"oauth2": OPTIONS}})
    with pytest.raises(ConfigError, match=r"pip install 'mess\[oauth2\]'"):
        config.build(Context())
