"""Secrets that endpoints, token endpoints and brokers repeat: no word of them in anything that the relay reports."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from pymongo.database import Database

from mess.demo.ports import free_port
from mess.demo.replica_set import ReplicaSet
from tests.acceptance.commands import mess, running, write
from tests.conftest import servers_needed
from tests.receiver import Answer, Receiver, Request
from tests.servers.mosquitto import MosquittoServer
from tests.servers.nats import NatsServer
from tests.servers.rabbitmq import RabbitServer
from tests.servers.redis import RedisServer

Db = Database[dict[str, Any]]

PASSWORD = "p<4&ss/w\"örd'"
BEARER = "b3arer/t0ken+abcdefgh"
TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJyZWxheSJ9.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PATH = "/services/T0PSECRET/B0PSECRET/x0123456789abcdefghij"
CODE = "c0de/<of>&url"
SECRETS = [
    PASSWORD,
    BEARER,
    TOKEN,
    SIGNING,
    SIGNING[6:],
    PATH,
    PATH.rpartition("/")[2],
    CODE,
    "cl1ent-s3cret",
    "as5ertion",
]
SECRETS += ["s3ssion-of-cookie", "k3y-of-api", base64.b64encode(f"relay:{PASSWORD}".encode()).decode()]

REPEATS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "HTML": html.escape,
    "JSON": lambda text: json.dumps({"you sent": text}),
    "JSON of PHP and Go": lambda text: (
        json.dumps(text).replace("/", "\\/").replace("<", "\\u003c").replace("&", "\\u0026")
    ),
    "percent": lambda text: re.sub("%..", lambda found: found[0].lower(), quote(text, safe=" ,:{}")),
    "HTML in JSON": lambda text: json.dumps({"message": html.escape(text)}),
}


def _plain(text: str) -> str:
    """A text with all escapes undone that a reader would undo."""
    for _ in range(3):
        text = html.unescape(text).replace("\\/", "/").replace('\\"', '"').replace("\\\\", "\\")
        text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text)
        text = re.sub(
            "(?:%[0-9a-fA-F]{2})+",
            lambda found: bytes.fromhex(found[0].replace("%", "")).decode("utf-8", "replace"),
            text,
        )
    return text


def assert_hidden(*texts: str) -> None:
    """No secret is in a text, in no spelling, and no recognisable part of a long one."""
    for text in texts:
        plain = _plain(text)
        for secret in SECRETS:
            for shown in (text, plain):
                assert secret not in shown
                assert len(secret) < 20 or secret[:12] not in shown, (secret, shown)


def repeating(status: int, spelling: str, **headers: str) -> Callable[[Request], Answer]:
    """An endpoint that answers with all of the request."""

    def answer(request: Request) -> Answer:
        told = f"no: {request.method} http://host{request.path}?code={CODE} {request.headers} in the end"
        return Answer(status, headers=headers, body=REPEATS[spelling](told).encode())

    return answer


@pytest.fixture
def config(replica_set: ReplicaSet, db: Db) -> dict[str, Any]:
    """A config without a pipeline, whose admin server listens at a port of its own."""
    return {
        "name": db.name,
        "mongodb": {"url": replica_set.url},
        "state": {"database": f"{db.name}-state"},
        "databases": {db.name: {}},
        "admin": {"port": free_port()},
    }


def http(url: str, **options: Any) -> dict[str, Any]:
    """The http step with all kinds of secrets but credentials."""
    endpoint = url.replace("/hook", f"{PATH}?code={quote(CODE, safe='')}")
    headers = {"X-Api-Key": "k3y-of-api", "Cookie": "theme=light; session=s3ssion-of-cookie", "X-Shop": "the-shop"}
    return {
        "name": "http",
        "config": {"endpoint": endpoint, "headers": headers, "sign": {"secret": SIGNING}, **options},
        "retry": {"max_attempts": 2, "first": "10ms"},
    }


CREDENTIALS: dict[str, dict[str, Any]] = {
    "bearer": {"bearer": BEARER},
    "basic": {"basic": {"username": "relay", "password": PASSWORD}},
}


async def pages(config: dict[str, Any]) -> list[str]:
    """What the admin server shows."""
    found = []
    async with aiohttp.ClientSession(f"http://127.0.0.1:{config['admin']['port']}") as session:
        for path in ("/", "/status", "/readyz", "/readyz?sinks=true", "/metrics"):
            async with session.get(path) as response:
                found.append(await response.text())
    return found


async def commands(path: Path) -> list[str]:
    """What commands show of the dead letters; the events and bodies in them are checked by themselves."""
    listed = await mess("dead-letters", "list", "--config", path, folder=path.parent)
    exported = await mess("dead-letters", "export", "--config", path, folder=path.parent)
    found = [listed.stdout, listed.stderr, exported.stderr]
    for line in exported.stdout.splitlines():
        letter = json.loads(line)
        assert (
            letter.pop("event")["fullDocument"]["note"]
            == letter.pop("body")["fullDocument"]["note"]
            == " ".join(SECRETS)
        )
        assert letter["history"]
        assert "***" in json.dumps(letter)
        found.append(json.dumps(letter, ensure_ascii=False))
    assert len(found) > 3
    return found


@pytest.mark.parametrize("credentials", CREDENTIALS)
@pytest.mark.parametrize("spelling", REPEATS)
async def test_an_endpoint_that_repeats_the_whole_request(
    tmp_path: Path, config: dict[str, Any], db: Db, spelling: str, credentials: str
) -> None:
    """First as one that is down, then as one that refuses. What the event itself holds is delivered, logged by the log
    step and kept as it is, even where it is the very same text."""
    async with Receiver(respond=repeating(503, spelling)) as receiver:
        step = http(receiver.url, auth=CREDENTIALS[credentials])
        path = write(tmp_path, {**config, "pipeline": ["log", step], "log": {"level": "debug"}})
        async with running(path) as relay:
            await relay.connected()
            db.orders.insert_one({"_id": 1, "note": " ".join(SECRETS)})
            await relay.until(lambda: relay.said("step fails, retrying"), "a failure")
            shown = await pages(config)
            assert any("answered 503: " in page and "***" in page for page in shown)
            receiver.respond = repeating(422, spelling)
            await relay.until(lambda: relay.said("events given up"), "a dead letter")
            shown += await pages(config)
            lines = relay.text.splitlines()
            assert await relay.stop() == 0
        [logged] = relay.said("event")
        assert logged["body"]["fullDocument"]["note"] == " ".join(SECRETS)
        assert receiver.requests[-1].json["fullDocument"]["note"] == " ".join(SECRETS)
    assert_hidden(*shown, *(line for line in lines if '"event":"event"' not in line), *await commands(path))


async def test_a_token_endpoint_and_an_endpoint_that_repeat_what_they_get(
    tmp_path: Path, config: dict[str, Any], db: Db
) -> None:
    """The client's secret in the token endpoint's error, and the token, once it is there, in the endpoint's."""

    def error(request: Request) -> Answer:
        body = {"error": "invalid_client", "error_description": f"{request.headers} {request.body.decode()} {PATH}"}
        return Answer(401, body=json.dumps(body).encode())

    async with Receiver(respond=error) as tokens, Receiver(respond=repeating(422, "JSON")) as receiver:
        oauth2 = {
            "token_url": tokens.url.replace("/hook", PATH),
            "client_id": "relay",
            "client_secret": "cl1ent-s3cret",
            "client_auth": "body",
            "parameters": {"assertion": "as5ertion"},
        }
        path = write(tmp_path, {**config, "pipeline": [http(receiver.url, auth={"oauth2": oauth2})]})
        checked = await mess("check", "--config", path, folder=tmp_path)
        assert "invalid_client" in checked.stdout
        async with running(path) as relay:
            await relay.connected()
            db.orders.insert_one({"_id": 1, "note": " ".join(SECRETS)})
            await relay.until(lambda: relay.said("step fails, retrying"), "a failure")
            shown = await pages(config)
            answer = {"access_token": TOKEN, "token_type": "Bearer", "expires_in": 3600}
            tokens.respond = lambda request: Answer(200, body=json.dumps(answer).encode())
            await relay.until(lambda: relay.said("events given up"), "a dead letter")
            shown += await pages(config)
            assert await relay.stop() == 0
    assert TOKEN in receiver.requests[-1].headers["authorization"]
    assert_hidden(checked.stdout, checked.stderr, relay.text, *shown, *await commands(path))


async def test_over_long_headers_that_repeat_the_request(tmp_path: Path, config: dict[str, Any], db: Db) -> None:
    """Of which the HTTP client shows the beginning."""
    told = f"{BEARER} {PATH} k3y-of-api s3ssion-of-cookie "
    async with Receiver(respond=lambda request: Answer(422, headers={"X-You-Sent": told * 500})) as receiver:
        path = write(tmp_path, {**config, "pipeline": [http(receiver.url, auth={"bearer": BEARER})]})
        async with running(path) as relay:
            await relay.connected()
            db.orders.insert_one({"_id": 1})
            await relay.until(lambda: "not HTTP" in relay.text or relay.said("events given up"), "a failure")
            shown = await pages(config)
            assert await relay.stop() == 0
    assert_hidden(relay.text, *shown)


# Brokers


@pytest.fixture(scope="module")
def brokers() -> Iterator[dict[str, str]]:
    """Brokers that accept nobody, by kind. Redis does not know HELLO, so that its error repeats the command."""
    with servers_needed():
        made = [
            RedisServer(requirepass="right", rename_command='HELLO ""'),
            NatsServer("authorization {user: mess, password: right}"),
            MosquittoServer("allow_anonymous false"),
            RabbitServer(),
        ]
    try:
        yield {broker.url.partition(":")[0]: broker.start() or broker.url for broker in made}  # type: ignore[func-returns-value]
    finally:
        for broker in made:
            broker.close()


@pytest.mark.parametrize("kind", ["redis", "nats", "mqtt", "amqp"])
async def test_a_broker_that_does_not_accept_the_password(
    tmp_path: Path, config: dict[str, Any], db: Db, brokers: dict[str, str], kind: str
) -> None:
    """Neither `check` nor the log, nor the status."""
    url = brokers[kind].replace("//", f"//relay:{quote(PASSWORD, safe='')}@")
    step = {"name": "queue", "config": {"url": url, "timeout": "5s"}}
    path = write(tmp_path, {**config, "pipeline": [step], "log": {"level": "debug"}})
    checked = await mess("check", "--config", path, folder=tmp_path)
    assert checked.returncode == 8
    async with running(path) as relay:
        await relay.connected()
        db.orders.insert_one({"_id": 1})
        await relay.until(lambda: relay.said("step fails, retrying"), "a failure")
        shown = await pages(config)
        assert await relay.stop() == 0
    if kind == "redis":
        assert "'HELLO', with args beginning with: '3' 'AUTH' 'relay' '***'" in checked.stdout
    assert_hidden(checked.stdout, checked.stderr, relay.text, *shown)


async def test_mongodb_and_state_that_do_not_accept_the_password(tmp_path: Path, config: dict[str, Any]) -> None:
    """Wherever the driver's text goes."""
    login = f"relay:{quote(PASSWORD, safe='')}@"
    url = config["mongodb"]["url"].replace("//", f"//{login}")
    for options in ({"mongodb": {"url": url}}, {"state": {"url": url}}):
        path = write(tmp_path, {**config, "pipeline": ["log"], "log": {"level": "debug"}, **options})
        checked = await mess("check", "--config", path, folder=tmp_path)
        ran = await mess("run", "--config", path, folder=tmp_path)
        listed = await mess("dead-letters", "list", "--config", path, folder=tmp_path)
        assert ran.returncode in (3, 5), ran
        assert_hidden(*(text for done in (checked, ran, listed) for text in (done.stdout, done.stderr)))
