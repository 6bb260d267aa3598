"""The http step against a real HTTP server: headers, signatures, credentials, TLS, and what it raises."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import re
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook

import mess
from mess.errors import Ambiguous, BatchError, ConfigError, DeliveryError, EndpointDown, Refused
from mess.leadership import ALWAYS, Leadership
from mess.steps.base import Context
from mess.steps.http.step import Http, HttpConfig
from tests.receiver import Answer, Receiver, Request, server_tls
from tests.secrets import learn_from
from tests.unit.fakes import make_event, make_events, make_read

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with Receiver() as found:
        yield found


@asynccontextmanager
async def opened(
    endpoint: str, directory: Path | None = None, *, leadership: Leadership = ALWAYS, **options: Any
) -> AsyncIterator[Http]:
    context = Context() if directory is None else Context(directory=directory)
    config = {"endpoint": endpoint, "timeout": "5s", **options}
    learn_from(HttpConfig, config)
    step = HttpConfig.model_validate(config).build(context)
    step.leadership = leadership
    await step.open()
    try:
        yield step
    finally:
        await step.close()


async def test_a_request_for_each_event_says_who_sends_what(receiver: Receiver) -> None:
    events = make_events(3)
    events[1].replay = True
    async with opened(receiver.url, headers={"X-Team": "shop"}) as step:
        assert await step.process(events) == events
    assert [request.headers["webhook-id"] for request in receiver.requests] == [event.id for event in events]
    assert [request.headers.get("mess-replay") for request in receiver.requests] == [None, "true", None]
    first = receiver.requests[0].headers
    assert (first["content-type"], first["x-team"]) == ("application/json", "shop")
    assert first["user-agent"] == f"mess/{mess.__version__}"
    assert "webhook-signature" not in first
    assert receiver.connections == 1


async def test_a_request_says_what_its_document_is_and_which_backfill_read_it(receiver: Receiver) -> None:
    """The body stays what it is."""
    update = make_event(1, operation="update")
    update.looked_up = True
    events = [make_event(0), update, make_event(2, operation="delete"), make_read(3, backfill="bf_7")]
    async with opened(receiver.url) as step:
        await step.process(events)
    headers = [request.headers for request in receiver.requests]
    assert [each.get("mess-document") for each in headers] == ["exact", "lookup", None, "exact"]
    assert [each.get("mess-backfill") for each in headers] == [None, None, None, "bf_7"]
    assert receiver.requests[3].json["operationType"] == "read"
    assert "_id" not in receiver.requests[3].json


async def test_a_batch_names_its_backfill_if_all_of_its_events_are_of_one(receiver: Receiver) -> None:
    reads, others = [make_read(n, backfill="bf_7") for n in range(2)], [make_read(9, backfill="bf_8")]
    async with opened(receiver.url, batch={}) as step:
        for events in (reads, [*reads, *others], [*reads, make_event(5)], [make_event(5), *reads]):
            await step.process(events)
    assert [request.headers.get("mess-backfill") for request in receiver.requests] == ["bf_7", None, None, None]
    assert not any("mess-document" in request.headers for request in receiver.requests)
    members = receiver.requests[2].json["events"]
    assert [(each["document"], each.get("backfill")) for each in members] == [
        ("exact", "bf_7"),
        ("exact", "bf_7"),
        ("exact", None),
    ]


@pytest.mark.parametrize("batch", [None, {}])
async def test_what_is_signed_is_what_is_sent(receiver: Receiver, batch: dict[str, Any] | None) -> None:
    event = make_event(0, text="naïve ☃")
    async with opened(receiver.url, sign={"secret": [SECRET]}, batch=batch) as step:
        await step.process([event])
    [request] = receiver.requests
    assert Webhook(SECRET).verify(request.body, request.headers) == request.json


async def test_check_names_the_public_key_that_verifies_what_is_sent(receiver: Receiver) -> None:
    """A receiver can be set up with what `mess check` prints."""
    private = "whsk_" + base64.b64encode(bytes(range(32))).decode()
    async with opened(receiver.url, sign={"secret": [private, SECRET]}) as step:
        found = await step.check()
        await step.process([make_event(0, text="naïve ☃")])
    assert private not in found
    [public] = re.findall(r"public key for its signatures: whpk_([A-Za-z0-9+/=]+)$", found)
    [request] = receiver.requests
    version, _, signature = request.headers["webhook-signature"].split()[0].partition(",")
    assert version == "v1a"
    content = f"{request.headers['webhook-id']}.{request.headers['webhook-timestamp']}.".encode() + request.body
    Ed25519PublicKey.from_public_bytes(base64.b64decode(public)).verify(base64.b64decode(signature), content)
    assert Webhook(SECRET).verify(request.body, request.headers) == request.json


async def test_every_attempt_is_signed_anew_under_the_same_id(receiver: Receiver) -> None:
    receiver.play([Answer(503)])
    async with opened(receiver.url, sign={"secret": SECRET}) as step:
        with pytest.raises(EndpointDown):
            await step.process([make_event()])
        await step.process([make_event()])
    first, second = receiver.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    for request in (first, second):
        Webhook(SECRET).verify(request.body, request.headers)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"auth": {"bearer": "abc"}}, "Bearer abc"),
        ({"auth": {"basic": {"username": "me", "password": "pässword"}}}, "Basic bWU6cMOkc3N3b3Jk"),
        ({}, "Basic dXNlcjpAc2VjcmV0"),
    ],
)
async def test_credentials_come_from_auth_or_from_the_url(
    receiver: Receiver, options: dict[str, Any], expected: str
) -> None:
    url = receiver.url if options else receiver.url.replace("//", "//user:%40secret@")
    async with opened(url, **options) as step:
        await step.process([make_event()])
    assert receiver.requests[0].headers["authorization"] == expected


async def test_a_batch_is_one_request_up_to_its_bounds(receiver: Receiver) -> None:
    events = make_events(7)
    async with opened(receiver.url, batch={"max_events": 3}) as step:
        await step.process(events)
    assert [len(request.events) for request in receiver.requests] == [3, 3, 1]
    assert [found.id for found in receiver.received] == [event.id for event in events]


async def test_a_batch_is_bounded_in_bytes_and_a_larger_event_goes_alone(receiver: Receiver) -> None:
    events = [make_event(0, x="a" * 400), make_event(1, x="a" * 400), make_event(2, x="a" * 5000), make_event(3)]
    async with opened(receiver.url, batch={"max_bytes": 1500}) as step:
        await step.process(events)
    assert [len(request.events) for request in receiver.requests] == [2, 1, 1]


@pytest.mark.parametrize("batch", [None, {}])
async def test_cloudevents_have_their_own_media_types(receiver: Receiver, batch: dict[str, Any] | None) -> None:
    events = make_events(2)
    async with opened(receiver.url, format="cloudevents", batch=batch) as step:
        await step.process(events)
    media_type = "application/cloudevents" + ("-batch" if batch is not None else "") + "+json"
    assert {request.headers["content-type"].partition(";")[0] for request in receiver.requests} == {media_type}
    found = receiver.requests[0].json if batch is not None else [request.json for request in receiver.requests]
    assert [one["id"] for one in found] == [event.id for event in events]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(503, {"Retry-After": "7"}), EndpointDown),
        (Answer(307, {"Location": "/elsewhere"}), EndpointDown),
        (Answer(500), Ambiguous),
        (Answer(422, body=b"no"), Refused),
        (Answer(hang=True), Ambiguous),
        (Answer(close="instead"), EndpointDown),
    ],
)
async def test_what_an_answer_raises(receiver: Receiver, answer: Answer, kind: type[Exception]) -> None:
    receiver.answer = answer
    async with opened(receiver.url, timeout="300ms") as step:
        with pytest.raises(kind) as caught:
            await step.process([make_event()])
    assert getattr(caught.value, "retry_after", None) == (7 if answer.status == 503 else None)


async def test_the_users_lists_are_heard(receiver: Receiver) -> None:
    receiver.play([Answer(409), Answer(500)])
    async with opened(receiver.url, answers={"done": [409], "refused": ["5xx"]}) as step:
        await step.process([make_event(0)])
        with pytest.raises(Refused):
            await step.process([make_event(1)])


async def test_what_comes_behind_a_failure_is_not_tried(receiver: Receiver) -> None:
    events = make_events(5)
    receiver.play([Answer(), Answer(422)])
    async with opened(receiver.url) as step:
        with pytest.raises(BatchError) as caught:
            await step.process(events)
    assert set(caught.value.errors) == {1}
    assert list(caught.value.untried) == events[2:]
    assert len(receiver.requests) == 2


async def test_a_kept_alive_connection_that_the_endpoint_has_closed_costs_nothing(receiver: Receiver) -> None:
    receiver.play([Answer(close="after")])
    async with opened(receiver.url) as step:
        for event in make_events(2):
            await step.process([event])
    assert len(receiver.accepted) == 2


async def test_a_body_that_no_json_can_hold_is_refused_and_the_others_are_sent(receiver: Receiver) -> None:
    events = make_events(3)
    events[1].body = {"odd": {1, 2}}
    async with opened(receiver.url, batch={}) as step:
        with pytest.raises(BatchError) as caught:
            await step.process(events)
    assert {index: type(error) for index, error in caught.value.errors.items()} == {1: Refused}
    assert "set" in str(caught.value.errors[1])
    assert [found.id for found in receiver.received] == [events[0].id, events[2].id]
    assert len(receiver.requests) == 1


async def test_an_endless_answer_is_not_read_to_its_end(receiver: Receiver) -> None:
    receiver.answer = Answer(400, body=b"x" * 5_000_000)
    async with opened(receiver.url) as step:
        with pytest.raises(Refused) as caught:
            await step.process([make_event()])
    assert caught.value.response is not None
    assert len(caught.value.response.body) == 1024


@asynccontextmanager
async def saying(*texts: bytes) -> AsyncIterator[str]:
    """The URL of a server that says these one after another, 50 ms apart, to each request, whatever it is."""

    served: list[asyncio.Task[None]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(asyncio.current_task())  # type: ignore[arg-type]
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                for text in texts:
                    writer.write(text)
                    await asyncio.sleep(0.05)
        writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/secret-path?secret-query"
    async with asyncio.timeout(5):
        await asyncio.gather(*served)  # they end with the step's connections


async def test_an_answer_that_nobody_asked_for_is_not_taken_for_the_next_requests() -> None:
    """A receiver that answers twice must not make an event count as delivered that it has not seen."""
    ok, no = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 422 No\r\nContent-Length: 0\r\n\r\n"
    async with saying(ok, no) as url, opened(url) as step:
        for event in make_events(3):
            await step.process([event])
            await asyncio.sleep(0.1)


async def test_what_is_not_http_is_told_without_the_urls_secrets() -> None:
    async with saying(b"SSH-2.0-OpenSSH_9.2\r\n") as url, opened(url) as step:
        with pytest.raises(EndpointDown, match=r"127\.0\.0\.1:\d+ answers is not HTTP: ") as caught:
            await step.process([make_event()])
    assert "secret" not in str(caught.value)


async def test_a_connection_that_is_not_made_in_time_is_no_answer_in_time() -> None:
    """It means that the endpoint is down, as when a firewall drops what is sent."""
    with socket.socket() as listener, socket.socket() as one, socket.socket() as other:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)  # whose queue the two fill
        for filling in (one, other):
            filling.setblocking(False)
            filling.connect_ex(listener.getsockname())
        async with opened(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout="200ms") as step:
            with pytest.raises(EndpointDown, match="could not be made in time"):
                await step.process([make_event()])


# ---- TLS -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def folder(tmp_path: Path, authority: trustme.CA) -> Path:
    """A config's folder with the authority's certificate and a client's."""
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    client = authority.issue_cert("relay@example.com")
    client.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
    client.private_key_pem.write_to_path(str(tmp_path / "client.key"))
    client.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    key = serialization.load_pem_private_key(client.private_key_pem.bytes(), None)
    (tmp_path / "locked.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"open sesame"),
        )
    )
    (tmp_path / "empty.pem").write_text("")
    return tmp_path


async def test_a_certificate_of_the_users_own_authority(authority: trustme.CA, folder: Path) -> None:
    async with Receiver(tls=server_tls(authority.issue_cert("127.0.0.1"))) as receiver:
        async with opened(receiver.url, folder, ca="ca.pem") as step:
            assert await step.check() == f"https://127.0.0.1:{receiver.port} accepts connections"
            await step.process([make_event()])
        assert len(receiver.accepted) == 1


async def test_verification_may_be_turned_off(authority: trustme.CA, folder: Path) -> None:
    async with Receiver(tls=server_tls(authority.issue_cert("elsewhere.example"))) as receiver:
        async with opened(receiver.url, folder, verify=False) as step:
            await step.process([make_event()])
        assert len(receiver.accepted) == 1


NOW = datetime.now(timezone.utc)


@pytest.mark.parametrize(
    ("issue", "options", "message"),
    [
        ({"not_after": NOW - timedelta(days=1)}, {"ca": "ca.pem"}, "has expired; renew it there"),
        ({"not_before": NOW + timedelta(days=1)}, {"ca": "ca.pem"}, "not valid yet; check the clocks"),
        ({}, {}, "unknown authority; set ca to that authority's certificate"),
        ({"host": "elsewhere.example"}, {"ca": "ca.pem"}, "is for another host"),
    ],
    ids=["expired", "not yet valid", "unknown authority", "another host"],
)
async def test_a_certificate_that_cannot_be_trusted_holds_the_events_and_names_the_remedy(
    authority: trustme.CA, folder: Path, issue: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    dates = {name: value for name, value in issue.items() if name != "host"}
    async with (
        Receiver(tls=server_tls(authority.issue_cert(issue.get("host", "127.0.0.1"), **dates))) as receiver,
        opened(receiver.url, folder, **options) as step,
    ):
        for work in (step.check, lambda: step.process([make_event()])):
            with pytest.raises(EndpointDown, match=message):
                await work()
    assert receiver.requests == []


@pytest.mark.parametrize(
    "certificate",
    [
        {"certificate": "client.pem", "key": "client.key"},
        {"certificate": "both.pem"},
        {"certificate": "client.pem", "key": "locked.key", "password": "open sesame"},
    ],
    ids=["two files", "one file", "an encrypted key"],
)
async def test_an_endpoint_may_ask_for_a_client_certificate(
    authority: trustme.CA, folder: Path, certificate: dict[str, str]
) -> None:
    async with Receiver(tls=server_tls(authority.issue_cert("127.0.0.1"), clients=authority)) as receiver:
        async with opened(receiver.url, folder, ca="ca.pem", client_certificate=certificate) as step:
            await step.check()
            await step.process([make_event()])
        assert len(receiver.accepted) == 1
        async with opened(receiver.url, folder, ca="ca.pem") as step:
            with pytest.raises(EndpointDown, match="client_certificate"):
                await step.check()
            with pytest.raises(EndpointDown):
                await step.process([make_event(1)])
        assert len(receiver.accepted) == 1


async def test_what_the_endpoint_says_of_a_missing_client_certificate_is_told(
    authority: trustme.CA, folder: Path
) -> None:
    made = server_tls(authority.issue_cert("127.0.0.1"), clients=authority)

    def serve(listener: socket.socket) -> None:
        # By hand: asyncio's servers hang up without the alert that others send.
        connection, _ = listener.accept()
        with connection, contextlib.suppress(ssl.SSLError):
            made.wrap_socket(connection, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = asyncio.create_task(asyncio.to_thread(serve, listener))
        async with opened(f"https://127.0.0.1:{listener.getsockname()[1]}", folder, ca="ca.pem") as step:
            with pytest.raises(EndpointDown, match="it asks for a client certificate; set client_certificate"):
                await step.check()
        await served


@pytest.mark.parametrize(
    ("options", "path", "message"),
    [
        ({"ca": "none.pem"}, "ca", "No such file"),
        ({"ca": "empty.pem"}, "ca", "PEM"),
        ({"client_certificate": {"certificate": "none.pem"}}, "client_certificate.certificate", "No such file"),
        ({"client_certificate": {"certificate": "empty.pem"}}, "client_certificate.certificate", "no certificate"),
        ({"client_certificate": {"certificate": "client.pem"}}, "client_certificate.certificate", "no private key"),
        (
            {"client_certificate": {"certificate": "client.pem", "key": "ca.pem"}},
            "client_certificate.key",
            "no private key",
        ),
        (
            {"client_certificate": {"certificate": "ca.pem", "key": "client.key"}},
            "client_certificate.key",
            "does not belong to the certificate",
        ),
        (
            {"client_certificate": {"certificate": "client.pem", "key": "locked.key", "password": "wrong"}},
            "client_certificate.password",
            "does not fit",
        ),
        (
            {"client_certificate": {"certificate": "client.pem", "key": "locked.key"}},
            "client_certificate.password",
            "is missing",
        ),
    ],
)
def test_files_that_cannot_be_used_are_told_with_the_option(
    folder: Path, options: dict[str, Any], path: str, message: str
) -> None:
    config = HttpConfig.model_validate({"endpoint": "https://example.com", **options})
    with pytest.raises(ConfigError) as caught:
        config.build(Context(directory=folder))
    [problem] = caught.value.problems
    assert problem.path == path
    assert message in problem.message
    assert "wrong" not in problem.message.replace("wrong-", "")


@pytest.mark.parametrize("status", [b"100 Continue", b"103 Early Hints"])
async def test_interim_answers_without_end_fill_no_memory(status: bytes) -> None:
    """The connection is closed, so that neither memory nor the event loop suffers; the endpoint counts as down."""
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.read(1)
        lines = (b"HTTP/1.1 " + status + b"\r\n\r\n") * 1000
        with contextlib.suppress(ConnectionError):
            while sent < 200_000_000:
                writer.write(lines)
                await writer.drain()
                sent += len(lines)
        writer.close()

    async with (
        await asyncio.start_server(flood, "127.0.0.1", 0) as server,
        opened(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as step,
    ):
        with pytest.raises(EndpointDown, match="too many interim answers"):
            await step.process([make_event(1)])
    assert sent < 20_000_000, "the rest lies in the sockets' buffers"


async def test_an_interim_answer_before_the_answer_is_passed_over() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(20):
            await reader.readuntil(b"}")
            writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await reader.read(100_000)
        writer.close()

    async with (
        await asyncio.start_server(answer, "127.0.0.1", 0) as server,
        opened(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as step,
    ):
        for number in range(20):
            assert await step.process([make_event(number)])


async def test_plain_http_at_an_https_url_is_told() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")  # as servers do when they are spoken to in TLS
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with opened(f"https://127.0.0.1:{port}") as step:
            with pytest.raises(EndpointDown, match="does not use TLS on this port"):
                await step.check()


async def test_nothing_that_listens_and_no_such_host_are_told(receiver: Receiver) -> None:
    await receiver.stop()
    async with opened(receiver.url) as step:
        with pytest.raises(EndpointDown, match="is the endpoint running"):
            await step.check()
    async with opened("http://no-such-host.invalid/") as step:
        with pytest.raises(EndpointDown, match=r"no address found for no-such-host\.invalid"):
            await step.check()


@pytest.mark.parametrize("status", [401, 422, 500])
@pytest.mark.parametrize(
    ("user", "options", "hidden"),
    [
        ("", {"auth": {"bearer": "b3arer"}}, ["b3arer"]),
        ("", {"auth": {"basic": {"username": "relay", "password": "p4ss-w"}}}, ["p4ss-w", "cmVsYXk6cDRzcy13"]),
        ("relay:p4%40ss-w@", {}, ["p4@ss-w", "p4%40ss-w", "cmVsYXk6cDRAc3Mtdw=="]),
        ("", {"headers": {"Authorization": "ApiKey k3y+/+", "X-Auth": 'h1dd"en'}}, ["k3y+/+", 'h1dd"en', 'h1dd\\"en']),
    ],
    ids=["bearer", "basic", "url", "headers"],
)
async def test_what_an_endpoint_repeats_of_its_credentials_is_not_shown(
    receiver: Receiver, status: int, user: str, options: dict[str, Any], hidden: list[str]
) -> None:
    def repeat(request: Request) -> Answer:
        headers = dict(request.headers)
        body = f"no: {headers.get('authorization', '')} {hidden[0]} t0ken&+ t0ken%26%2B {json.dumps(headers)} of orders"
        return Answer(status, body=body.encode())

    receiver.respond = repeat
    url = receiver.url.replace("//", f"//{user}") + "?key=t0ken%26%2B"
    async with opened(url, **options) as step:
        with pytest.raises(DeliveryError) as caught:
            await step.process([make_event()])
    response = caught.value.response
    assert response is not None
    for text in (str(caught.value), response.body):
        assert "no: " in text
        assert "***" in text
        assert not [secret for secret in [*hidden, "t0ken"] if secret in text]
    assert "of orders" in response.body


async def test_no_secret_is_in_what_the_step_says_of_itself() -> None:
    config = HttpConfig.model_validate(
        {
            "endpoint": "https://user:secret@example.com/hook?token=secret",
            "headers": {"X-Key": "secret"},
            "sign": {"secret": SECRET},
        }
    )
    assert config.describe() == "http https://example.com/…"
    assert json.dumps(config.model_dump(mode="json", include={"sign"})).count(SECRET) == 0


async def failed(endpoint: str, **options: Any) -> EndpointDown:
    """What comes of one event."""
    async with opened(endpoint, **options) as step:
        with pytest.raises(EndpointDown) as caught:
            await step.process([make_event()])
    return caught.value


async def test_a_connection_that_ends_under_the_request_may_be_the_events_fault(receiver: Receiver) -> None:
    """And only for this URL; one that cannot be made concerns the whole host and is never the event's fault."""
    receiver.answer = Answer(close="instead")
    error = await failed(receiver.url)
    assert (error.event_may_be_cause, error.shared) == (True, False)
    receiver.answer = Answer(close="before")
    assert (await failed(receiver.url)).event_may_be_cause
    await receiver.stop()
    refused = await failed(receiver.url)
    assert (refused.event_may_be_cause, refused.shared) == (False, True)
    unknown = await failed("http://no-such-host.invalid/")
    assert (unknown.event_may_be_cause, unknown.shared) == (False, True)


async def test_trouble_with_tls_is_never_the_events_fault() -> None:
    async with Receiver(tls=server_tls(trustme.CA().issue_cert("127.0.0.1"))) as receiver:
        error = await failed(receiver.url)
    assert (error.event_may_be_cause, error.shared) == (False, True)


async def test_a_status_that_an_event_may_provoke_says_so(receiver: Receiver) -> None:
    receiver.play([Answer(403), Answer(503), Answer(502, headers={"Retry-After": "1"}), Answer(403)])
    found = [(await failed(receiver.url)).event_may_be_cause for _ in range(3)]
    assert found == [True, False, False]
    assert not (await failed(receiver.url, answers={"down": [403]})).event_may_be_cause
