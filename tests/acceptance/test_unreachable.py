"""MongoDB that cannot be reached: each cause has its own sentence, which names the place and the remedy."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from pymongo import MongoClient

from mess.container import in_container
from mess.demo.mongod import Mongod, find_mongod
from mess.demo.ports import free_port
from mess.demo.replica_set import ReplicaSet
from tests.acceptance.commands import Running, mess, running, write
from tests.conftest import servers_needed
from tests.waiting import until

SAID = "MongoDB cannot be reached, trying again"
HINT = "localhost is the container itself"


@pytest.fixture(scope="module")
def _mongod() -> None:
    with servers_needed():
        find_mongod()


def config(url: str, port: int, **more: Any) -> dict[str, Any]:
    return {
        "name": "unreachable",
        "mongodb": {"url": url},
        "databases": {"shop": {}},
        "pipeline": ["log"],
        "admin": {"port": port},
        **more,
    }


async def readiness(port: int) -> tuple[int, dict[str, Any]]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as response:
        return response.status, await response.json()


async def told(folder: Path, url: str, place: str, problem: str, remedy: str) -> None:
    """`run` says so in the log within 2 s and in /readyz, and goes on trying; `check` says so and gives up."""
    sentence = f"cannot reach MongoDB at {place}: {problem}"
    port = free_port()
    path = write(folder, config(url, port))
    async with running(path) as relay:
        await relay.until(lambda: relay.said(SAID), "a warning")
        [starting] = relay.said("starting")
        warning = relay.said(SAID)[0]
        assert warning["error"].startswith(sentence), warning
        assert remedy in warning["error"]
        assert seconds(warning) - seconds(starting) < 2.0
        status, body = await readiness(port)
        assert status == 503
        assert any(reason.startswith(sentence) for reason in body["reasons"]), body
        assert relay.process.poll() is None
        no_noise(relay.text)
    checked = await mess("check", "--config", path, "--timeout", "2.5s", folder=folder)
    assert checked.returncode == 3
    assert checked.stdout.startswith(f"no  {sentence}"), checked.stdout
    assert remedy in checked.stdout
    no_noise(checked.stdout + checked.stderr)


def seconds(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["timestamp"]).timestamp()


def no_noise(text: str) -> None:
    """Neither tracebacks, nor secrets, nor the driver's own text."""
    for noise in ("Traceback", "s3cret", "configured timeouts", "Topology", "ServerDescription", "never awaited"):
        assert noise not in text, text


async def test_nothing_listens(tmp_path: Path) -> None:
    port = free_port()
    await told(
        tmp_path,
        f"mongodb://user:s3cret@127.0.0.1:{port}/?replicaSet=rs0",
        f"127.0.0.1:{port}",
        "the connection is refused",
        "mongod is running there, and that mongodb.url names the right host and port",
    )


async def test_an_unknown_host_name(tmp_path: Path) -> None:
    await told(
        tmp_path,
        "mongodb://user:s3cret@mongo.invalid/?replicaSet=rs0",
        "mongo.invalid:27017",
        "the host name mongo.invalid is unknown",
        "Check the host in mongodb.url",
    )


async def test_a_name_that_dns_does_not_lead_to_servers(tmp_path: Path) -> None:
    """A mongodb+srv:// url waits like any other, for DNS may come up later than the relay."""
    await told(
        tmp_path,
        "mongodb+srv://user:s3cret@cluster.mongo.invalid/",
        "cluster.mongo.invalid",
        "its servers are not found in DNS",
        "Check the host in mongodb.url",
    )


async def test_a_server_that_accepts_connections_and_never_answers(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        await told(
            tmp_path,
            f"mongodb://user:s3cret@127.0.0.1:{port}/?replicaSet=rs0",
            f"127.0.0.1:{port}",
            "it accepts connections but does not answer",
            "names MongoDB's port",
        )


async def test_another_kind_of_server(tmp_path: Path) -> None:
    greeted: list[asyncio.StreamWriter] = []

    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        greeted.append(writer)
        writer.write(b"SSH-2.0-OpenSSH_9.2p1\r\n")

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await told(
            tmp_path,
            f"mongodb://{address}/?replicaSet=rs0",
            address,
            "the server there does not use MongoDB's protocol",
            "Check host and port in mongodb.url",
        )
        for writer in greeted:
            writer.close()


@pytest.mark.usefixtures("_mongod")
async def test_a_replica_set_that_has_not_been_initiated(tmp_path: Path) -> None:
    with Mongod() as node:
        await told(
            tmp_path,
            f"mongodb://{node.address}/?replicaSet=rs0",
            node.address,
            "its replica set has not been initiated",
            "Run rs.initiate() once",
        )


async def test_another_name_of_the_replica_set(tmp_path: Path, replica_set: ReplicaSet) -> None:
    address = replica_set.nodes[0].address
    await told(
        tmp_path,
        f"mongodb://{address}/?replicaSet=other",
        address,
        "it belongs to the replica set rs0, and mongodb.url names other",
        "Write replicaSet=rs0 in mongodb.url",
    )


async def test_tls_that_the_server_does_not_speak(tmp_path: Path, replica_set: ReplicaSet) -> None:
    address = replica_set.nodes[0].address
    await told(
        tmp_path,
        f"mongodb://{address}/?replicaSet=rs0&tls=true",
        address,
        "it does not use TLS, which mongodb.url asks for",
        "Remove tls=true from mongodb.url",
    )


@contextmanager
def _with_tls(folder: Path) -> Iterator[Mongod]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(folder / "server.pem")
    )
    arguments = [
        "--tlsMode=requireTLS",
        f"--tlsCertificateKeyFile={folder / 'server.pem'}",
        f"--tlsCAFile={folder / 'ca.pem'}",
        "--tlsAllowConnectionsWithoutCertificates",
    ]
    with Mongod(extra=arguments) as node:
        yield node


@pytest.mark.usefixtures("_mongod")
async def test_tls_that_the_server_expects(tmp_path: Path) -> None:
    """Without it in the url, with an authority that is not known, and with everything right."""
    with _with_tls(tmp_path) as node:
        await told(
            tmp_path,
            f"mongodb://{node.address}/?replicaSet=rs0",
            node.address,
            "it expects TLS",
            "Add tls=true to mongodb.url",
        )
        await told(
            tmp_path,
            f"mongodb://{node.address}/?replicaSet=rs0&tls=true",
            node.address,
            "its TLS certificate is not accepted",
            "tlsCAFile=",
        )
        await told(
            tmp_path,
            f"mongodb://{node.address}/?replicaSet=rs0&tls=true&tlsCAFile={tmp_path / 'ca.pem'}",
            node.address,
            "its replica set has not been initiated",
            "Run rs.initiate() once",
        )


async def test_localhost_in_a_container(tmp_path: Path) -> None:
    """Where MESS runs in a container, a sentence says that localhost is that container; elsewhere it does not."""
    for host, hinted in (("localhost", in_container()), ("[::1]", in_container()), ("mongo.invalid", False)):
        path = write(tmp_path, config(f"mongodb://{host}:{free_port()}", 0))
        done = await mess("check", "--config", path, "--timeout", "100ms", folder=tmp_path)
        assert (HINT in done.stdout) == hinted, done.stdout


@asynccontextmanager
async def _late(folder: Path) -> AsyncIterator[tuple[ReplicaSet, Running]]:
    with ReplicaSet(1) as late:
        await asyncio.to_thread(late.nodes[0].stop)
        async with running(write(folder, config(late.url, 0))) as relay:
            yield late, relay


@pytest.mark.usefixtures("_mongod")
async def test_mongodb_that_comes_later_than_the_relay_is_waited_for(tmp_path: Path) -> None:
    async with _late(tmp_path) as (late, relay):
        await relay.until(lambda: len(relay.said(SAID)) >= 2, "two warnings")
        await asyncio.to_thread(late.nodes[0].start)
        await relay.connected()
        assert await relay.stop() == 0
        no_noise(relay.text)


async def test_the_drivers_own_text_is_for_debugging(tmp_path: Path) -> None:
    path = write(tmp_path, config(f"mongodb://127.0.0.1:{free_port()}/?serverSelectionTimeoutMS=200", 0))
    async with running(path, "--log-level", "debug") as relay:
        await relay.until(lambda: relay.said("the driver cannot connect"), "the driver's text")


Arguments = list[str]


@pytest.mark.parametrize(
    "arguments",
    [
        ["checkpoints", "list"],
        ["checkpoints", "set", "1h"],
        ["checkpoints", "reset", "--all"],
        ["gaps", "list"],
        ["dead-letters", "list"],
        ["dead-letters", "show", "msg_1"],
        ["dead-letters", "replay", "--all"],
        ["dead-letters", "discard", "--all", "--yes"],
        ["dead-letters", "export"],
        ["replay", "--from", "1h"],
        ["check"],
    ],
    ids=" ".join,
)
async def test_every_command_gives_up_after_its_timeout(tmp_path: Path, arguments: Arguments) -> None:
    """Also where a server accepts the connection and is silent, and where another MongoDB keeps the state."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        path = write(tmp_path, config(f"mongodb://user:s3cret@127.0.0.1:{port}/?replicaSet=rs0", 0))
        began = time.monotonic()
        done = await mess(*arguments, "--config", path, "--timeout", "1s", folder=tmp_path)
        took = time.monotonic() - began
    output = done.stdout + done.stderr
    assert done.returncode == 3, output
    assert f"cannot reach MongoDB at 127.0.0.1:{port}: it accepts connections but does not answer" in output
    assert "gave up after 1 s" in output
    no_noise(output)
    assert took < 20.0  # starting Python included, on a busy machine


@pytest.mark.parametrize("command", ["dead-letters", "check"])
async def test_the_states_mongodb_has_its_own_name(tmp_path: Path, replica_set: ReplicaSet, command: str) -> None:
    port = free_port()
    state = {"url": f"mongodb://user:s3cret@127.0.0.1:{port}"}
    path = write(tmp_path, config(replica_set.url, 0, state=state))
    arguments = [command, "list"] if command == "dead-letters" else [command]
    done = await mess(*arguments, "--config", path, "--timeout", "1s", folder=tmp_path)
    output = done.stdout + done.stderr
    assert done.returncode == 3, output
    assert f"cannot reach MongoDB at 127.0.0.1:{port}: the connection is refused" in output
    assert "state.url names the right host and port" in output
    no_noise(output)


async def test_a_relay_waits_for_the_states_mongodb_too(tmp_path: Path, replica_set: ReplicaSet) -> None:
    port = free_port()
    state = {"url": f"mongodb://user:s3cret@127.0.0.1:{port}"}
    async with running(write(tmp_path, config(replica_set.url, 0, state=state))) as relay:
        await relay.until(lambda: relay.said(SAID), "a warning")
        assert "state.url" in relay.said(SAID)[0]["error"]
        assert await relay.stop() == 0


async def test_the_demo_ends_in_time_without_its_mongodb(tmp_path: Path) -> None:
    """After the time that it was given, and after ten seconds without one."""
    url = f"mongodb://127.0.0.1:{free_port()}"
    for arguments, most in ((["--seconds", "1"], 9.0), ([], 30.0)):
        began = time.monotonic()
        done = await mess("demo", "--url", url, *arguments, folder=tmp_path)
        assert time.monotonic() - began < most
        assert done.returncode == 3
        assert "the connection is refused" in done.stderr
        assert "--url names the right host and port" in done.stderr
        no_noise(done.stdout + done.stderr)


@pytest.mark.usefixtures("_mongod")
async def test_the_demo_ends_in_time_when_its_mongodb_goes_away(tmp_path: Path, own_replica_set: ReplicaSet) -> None:
    """What was written before has arrived, and is said to have."""
    demo = asyncio.create_task(
        mess("demo", "--url", own_replica_set.url, "--seconds", "5", folder=tmp_path, patience=60)
    )
    with MongoClient[dict[str, Any]](own_replica_set.url) as client:
        await until(
            lambda: any(name.startswith("mess-demo-") for name in client.list_database_names()), "the shop's writes"
        )
    await asyncio.to_thread(own_replica_set.nodes[0].kill)
    done = await demo
    assert done.returncode in (0, 3)  # it ends while the shop waits for its last write, or with that write
    no_noise(done.stdout + done.stderr)
