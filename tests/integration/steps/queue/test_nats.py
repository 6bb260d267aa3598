"""Events as messages of NATS streams, read by NATS's own client."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from pathlib import Path
from typing import Any

import nkeys
import pytest
from bson import Binary
from nats.aio.client import Client

from mess.errors import Ambiguous, BatchError, EndpointDown, Refused
from mess.leadership import Leadership, now
from tests.conftest import servers_needed
from tests.integration.steps.queue.step import connected_too_late, insisted, number, opened, trust_is_needed
from tests.servers.certificates import Certificates
from tests.servers.nats import NatsServer
from tests.unit.fakes import make_event, make_events


def numbers(server: NatsServer, stream: str = "shop") -> list[int]:
    return [number(message.data) for message in server.messages(stream)]


async def made(server: NatsServer, name: str = "shop", *subjects: str, **options: Any) -> None:
    await asyncio.to_thread(server.add_stream, name, *(subjects or ("shop.>",)), **options)


async def read(server: NatsServer, stream: str = "shop") -> list[Any]:
    return await asyncio.to_thread(server.messages, stream)


async def test_each_event_is_a_message_in_order_with_id_key_and_headers(nats_server: NatsServer) -> None:
    await made(nats_server)
    events = make_events(1000)
    events[7].replay = True
    headers = {"operation": "{operation}", "number": " {fullDocument.n} ☃\r\nEvil: 1\0"}
    async with opened(nats_server.url, headers=headers, leadership=Leadership(42)) as step:
        assert await step.process(events[:500]) == events[:500]
        await step.process(events[500:])
    found = await read(nats_server)
    assert [message.header["Nats-Msg-Id"] for message in found] == [event.id for event in events]
    assert [number(message.data) for message in found] == list(range(1000))
    assert {message.subject for message in found} == {"shop.orders"}
    assert found[3].header == {
        "Nats-Msg-Id": events[3].id,
        "content-type": "application/json",
        "mess-key": "000000000000000000000003",
        "operation": "insert",
        "number": "3 ☃␍␊Evil: 1␀",
        "mess-epoch": "42",
        "mess-document": "exact",
    }
    assert [index for index, message in enumerate(found) if "mess-replay" in message.header] == [7]


async def test_keys_of_every_kind_and_events_without_one(nats_server: NatsServer) -> None:
    await made(nats_server)
    events = [make_event(0, key={"a": 1}), make_event(1, key=Binary(b"\x00\xff")), make_event(3, operation="drop")]
    events.append(make_event(4, key="a\r\n\0b"))
    async with opened(nats_server.url) as step:
        await step.process(events)
    keys = [message.header.get("mess-key") for message in await read(nats_server)]
    assert keys == ['{"a":1}', "AP8=", None, "a␍␊␀b"]


async def test_nothing_is_sent_on_a_connection_that_came_too_late(nats_server: NatsServer) -> None:
    await made(nats_server)
    async with opened(nats_server.url, leadership=Leadership(1, now() + 60)) as step:
        await connected_too_late(step, make_events(5))
        await step.process(make_events(5, first=5))
    assert [number(message.data) for message in await read(nats_server)] == list(range(5, 10))


async def test_what_comes_twice_is_kept_once(nats_server: NatsServer) -> None:
    await made(nats_server)
    async with opened(nats_server.url) as step:
        for _ in range(2):
            await step.process(make_events(10))
    assert [number(message.data) for message in await read(nats_server)] == list(range(10))


async def test_a_stream_is_made_on_request_and_stays_as_it_is(nats_server: NatsServer) -> None:
    stream = {
        "name": "made",
        "subjects": ["shop.>"],
        "storage": "memory",
        "max_age": "7d",
        "max_bytes": "10MB",
        "duplicate_window": "1h",
    }
    for each in ({}, {"max_bytes": "20MB"}):
        async with opened(nats_server.url, nats={"stream": {**stream, **each}}) as step:
            await step.process(make_events(1, first=len(each)))

    async def look(client: Client) -> Any:
        return (await client.jetstream().stream_info("made")).config

    config = await asyncio.to_thread(nats_server.do, look)
    assert (config.storage, config.max_age, config.max_bytes, config.duplicate_window) == (
        "memory",
        7 * 86400,
        10_000_000,
        3600,
    )
    assert [number(message.data) for message in await read(nats_server, "made")] == [0, 1]


async def test_a_stream_that_cannot_be_made_is_told(nats_server: NatsServer) -> None:
    await made(nats_server)
    async with opened(nats_server.url, nats={"stream": {"name": "other", "subjects": ["shop.orders"]}}) as step:
        with pytest.raises(EndpointDown, match="stream other cannot be created: subjects overlap"):
            await step.process(make_events(1))


async def test_only_the_events_that_no_stream_takes_fail(nats_server: NatsServer) -> None:
    """It is so too while a stream's leader is being elected: so others decide what it means."""
    await made(nats_server, "taken", "t.0", "t.2")
    async with opened(nats_server.url, target="t.{fullDocument.n}") as step:
        with pytest.raises(BatchError) as caught:
            await step.process(make_events(3))
    assert {index: type(error) for index, error in caught.value.errors.items()} == {1: Ambiguous}
    assert "no stream with the subject t.1; create one" in str(caught.value.errors[1])
    assert [number(message.data) for message in await read(nats_server, "taken")] == [0, 2]


@pytest.mark.parametrize("subject", ["a b", "a..b", "a.*", ">", "", "a\r\nPUB b 0\r\n\r\n"])
async def test_what_is_no_subject_refuses_its_own_events_only(nats_server: NatsServer, subject: str) -> None:
    await made(nats_server, "good", "good.>")
    events = [make_event(n, to=to) for n, to in enumerate(["good.one", subject, "good.two"])]
    async with opened(nats_server.url, target="{to}") as step:
        with pytest.raises(BatchError) as caught:
            await step.process(events)
    assert {index: type(error) for index, error in caught.value.errors.items()} == {1: Refused}
    assert [number(message.data) for message in await read(nats_server, "good")] == [0, 2]


async def test_an_event_of_fifteen_megabytes_arrives_whole(nats_server: NatsServer) -> None:
    await made(nats_server)
    async with opened(nats_server.url) as step:
        await step.process([make_event(0, big="x" * 15_000_000)])
    [message] = await read(nats_server)
    assert len(message.data) > 15_000_000


async def test_a_subject_longer_than_a_server_reads_is_refused_alone(nats_server: NatsServer) -> None:
    """The server would hang up over it, each time anew."""
    await made(nats_server)
    events = [make_event(number, to="é" * length) for number, length in enumerate([1, 2000, 1997, 50_000, 1])]
    async with opened(nats_server.url, target="shop.{to}") as step:
        with pytest.raises(BatchError) as caught:
            await step.process(events)
    assert {index: type(error) for index, error in caught.value.errors.items()} == {1: Refused, 3: Refused}
    assert [number(message.data) for message in await read(nats_server)] == [0, 2, 4]


async def test_a_message_beyond_the_servers_limit_is_refused_alone() -> None:
    with servers_needed():
        made_server = NatsServer("max_payload: 100000")
    with made_server as server:
        await made(server)
        async with opened(server.url, headers={"long": "{long}"}) as step:
            large = make_event(1, big="x" * 100_000)
            for header in ("x" * 99_000, "☃" * 33_000):
                long = make_event(2, long=header)
                with pytest.raises(BatchError) as caught:
                    await step.process([make_event(0), large, long, make_event(3)])
                assert {index: type(error) for index, error in caught.value.errors.items()} == {1: Refused, 2: Refused}
                assert "larger than its max_payload, 100000 bytes" in str(caught.value.errors[2])
        assert [number(message.data) for message in await read(server)] == [0, 3]


async def test_a_stream_that_is_full_holds_its_events_and_inverts_none(nats_server: NatsServer) -> None:
    await made(nats_server, max_msgs=2, discard="new")
    events = [make_event(number, key="same") for number in range(5)]
    async with opened(nats_server.url) as step:
        with pytest.raises(BatchError) as caught:
            await step.process(events)
        assert {index: type(error) for index, error in caught.value.errors.items()} == {2: EndpointDown}
        assert list(caught.value.untried) == events[3:]
    assert [number(message.data) for message in await read(nats_server)] == [0, 1]


async def test_a_server_that_is_away_is_down_and_found_again(nats_server: NatsServer) -> None:
    await made(nats_server)
    async with opened(nats_server.url) as step:
        await step.process(make_events(1))
        nats_server.kill()
        for _ in range(2):
            with pytest.raises(EndpointDown, match=f"127.0.0.1:{nats_server.port}"):
                await step.process(make_events(1, first=1))
        await asyncio.to_thread(nats_server.start)
        await insisted(step, make_events(1, first=1))
    assert [number(message.data) for message in await read(nats_server)] == [0, 1]


async def test_a_server_without_jetstream_is_told() -> None:
    with servers_needed():
        made_server = NatsServer(jetstream=False)
    with made_server as server:
        async with opened(server.url, target="shop.orders") as step:
            with pytest.raises(EndpointDown, match="has no JetStream"):
                await step.check()


async def test_a_delivery_that_is_broken_off_harms_no_other(nats_server: NatsServer) -> None:
    await made(nats_server)
    async with opened(nats_server.url) as step:
        for start in range(0, 200, 10):
            task = asyncio.create_task(step.process(make_events(10, first=start)))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await step.process(make_events(5, first=1000))
    assert [number(message.data) for message in await read(nats_server)][-5:] == list(range(1000, 1005))


async def test_an_answer_that_does_not_come_in_time_is_waited_for_no_longer(nats_server: NatsServer) -> None:
    await made(nats_server)
    async with opened(nats_server.url, timeout="300ms") as step:
        await step.process(make_events(1))
        nats_server.pause()
        try:
            with pytest.raises(EndpointDown, match=r"no confirmation within 0\.3 s"):
                await step.process(make_events(1, first=1))
        finally:
            nats_server.resume()
        await insisted(step, make_events(2, first=1))
    assert [number(message.data) for message in await read(nats_server)] == [0, 1, 2]


@pytest.mark.parametrize("user", ["", "wrong@", "mess:wrong@", "secret:right@"])
async def test_a_wrong_password_is_told_with_the_mend_and_not_shown(user: str) -> None:
    with servers_needed():
        made_server = NatsServer('authorization: {users: [{user: mess, password: "right p@ss"}]}')
    with made_server as server:
        async with opened(server.url.replace("//", f"//{user}")) as step:
            with pytest.raises(EndpointDown, match="fix the user and password, or the token") as caught:
                await step.check()
        assert "wrong" not in str(caught.value)
        assert "secret" not in str(caught.value)
        async with opened(server.url.replace("//", "//mess:right%20p%40ss@")) as step:
            assert await step.check() == f"nats at 127.0.0.1:{server.port} answers"


async def test_a_token_opens_too() -> None:
    with servers_needed():
        made_server = NatsServer('authorization: {token: "s3cret"}')
    with made_server as server:
        async with opened(server.url.replace("//", "//s3cret@")) as step:
            assert await step.check()


def key_pair(kind: int) -> nkeys.KeyPair:
    return nkeys.from_seed(nkeys.encode_seed(secrets.token_bytes(32), kind))


def token(issuer: nkeys.KeyPair, subject: nkeys.KeyPair, **claims: Any) -> str:
    """A JWT as NATS has them."""
    header = {"typ": "JWT", "alg": "ed25519-nkey"}
    body = {
        "jti": "1",
        "iat": int(time.time()),
        "iss": issuer.public_key.decode(),
        "sub": subject.public_key.decode(),
        "name": "test",
        "nats": {"version": 2, **claims},
    }
    text = ".".join(base64url(json.dumps(part).encode()) for part in (header, body))
    return f"{text}.{base64url(issuer.sign(text.encode()))}"


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


async def test_a_credentials_file_opens_too(tmp_path: Path) -> None:
    operator, account, user = map(
        key_pair, (nkeys.PREFIX_BYTE_OPERATOR, nkeys.PREFIX_BYTE_ACCOUNT, nkeys.PREFIX_BYTE_USER)
    )
    file = tmp_path / "mess.creds"
    identity = token(account, user, type="user", subs=-1, data=-1, payload=-1)
    file.write_text(
        f"-----BEGIN NATS USER JWT-----\n{identity}\n------END NATS USER JWT------\n\n"
        f"-----BEGIN USER NKEY SEED-----\n{user.seed.decode()}\n------END USER NKEY SEED------\n"
    )
    unlimited = dict.fromkeys(("conn", "subs", "data", "payload", "leaf", "imports", "exports"), -1)
    resolver = f"{account.public_key.decode()}: {token(operator, account, type='account', limits=unlimited)}"
    with servers_needed():
        made_server = NatsServer(
            f"operator: {token(operator, operator, type='operator')}\n"
            f"resolver: MEMORY\nresolver_preload: {{{resolver}}}",
            jetstream=False,
        )
    with made_server as server:
        async with opened(server.url, nats={"credentials": file.name}, folder=tmp_path) as step:
            assert await step.check()
        async with opened(server.url) as step:
            with pytest.raises(EndpointDown, match=r"nats: \{credentials"):
                await step.check()


async def test_a_seed_alone_opens_too(tmp_path: Path) -> None:
    user = key_pair(nkeys.PREFIX_BYTE_USER)
    (tmp_path / "mess.nk").write_bytes(user.seed)
    with servers_needed():
        made_server = NatsServer(f"authorization: {{users: [{{nkey: {user.public_key.decode()}}}]}}")
    with made_server as server:
        async with opened(server.url, nats={"credentials": "mess.nk"}, folder=tmp_path) as step:
            assert await step.check()


async def test_who_may_not_publish_is_refused_and_who_may_not_subscribe_is_told() -> None:
    with servers_needed():
        made_server = NatsServer(
            """authorization: {users: [
                {user: all, password: p},
                {user: some, password: p, permissions: {publish: ["shop.orders", "$JS.>"], subscribe: "_INBOX.>"}},
                {user: none, password: p, permissions: {subscribe: {deny: ">"}}}
            ]}""",
            user="all:p",
        )
    with made_server as server:
        await made(server)
        url = server.url
        async with opened(url.replace("all:p", "some:p"), target="shop.{to}") as step:
            events = [make_event(n, to="orders" if n else "secrets") for n in range(2)]
            with pytest.raises(BatchError) as caught:
                await step.process(events)
        assert {index: type(error) for index, error in caught.value.errors.items()} == {0: Refused}
        assert "does not let the user publish to shop.secrets" in str(caught.value.errors[0])
        assert [number(message.data) for message in await read(server)] == [1]
        async with opened(url.replace("all:p", "none:p"), timeout="2s") as step:
            with pytest.raises(EndpointDown, match="allow _INBOX"):
                await step.process(make_events(1))


async def test_several_hosts_are_tried_in_turn(nats_server: NatsServer) -> None:
    await made(nats_server)
    async with opened(f"nats://127.0.0.1:1,127.0.0.1:{nats_server.port}") as step:
        await step.process(make_events(1))
    assert len(await read(nats_server)) == 1


async def test_a_check_looks_for_the_stream(nats_server: NatsServer) -> None:
    async with opened(nats_server.url, target="shop.orders") as step:
        with pytest.raises(Refused, match=r"no stream with the subject shop.orders; create one"):
            await step.check()
        await made(nats_server)
        assert await step.check() == f"nats at 127.0.0.1:{nats_server.port} answers"


async def test_tls_with_a_client_certificate(tmp_path: Path) -> None:
    files = Certificates.made(tmp_path)
    with servers_needed():
        made_server = NatsServer(tls=files)
    with made_server as server:
        url = server.url.replace("nats://", "tls://")
        stream = {"stream": {"name": "shop", "subjects": ["shop.>"]}}
        async with opened(url, nats=stream, **files.options) as step:
            await step.process(make_events(2))
            assert await step.check()
        await trust_is_needed(url, files)


async def test_a_server_without_tls_is_never_told_the_password(nats_server: NatsServer) -> None:
    async with opened(nats_server.url.replace("nats://", "tls://mess:secret@")) as step:
        with pytest.raises(EndpointDown, match="does not ask for TLS"):
            await step.check()
