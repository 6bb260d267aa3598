"""What a user sees of a sink that will not do: one line with the remedy, at `mess check` and at the start."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import trustme

from mess.container import in_container
from mess.demo.ports import free_port
from mess.demo.replica_set import ReplicaSet
from tests.acceptance.commands import mess, running, write
from tests.conftest import servers_needed
from tests.receiver import Receiver, server_tls
from tests.servers.kafka import KafkaServer
from tests.servers.nats import NatsServer
from tests.servers.redis import RedisServer


@pytest.fixture(scope="module")
def kafka() -> Iterator[KafkaServer]:
    with servers_needed():
        made = KafkaServer(auto_create_topics_enable="false")
    with made as server:
        yield server


def config(replica_set: ReplicaSet, database: str, step: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": database,
        "mongodb": {"url": replica_set.url},
        "state": {"database": f"{database}-state"},
        "databases": {database: {}},
        "pipeline": [step],
        "admin": {"port": 0},
    }


def queue(url: str, **options: Any) -> dict[str, Any]:
    return {"name": "queue", "config": {"url": url, "timeout": "5s", **options}}


async def told(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    """`mess check` ends with 8, and `mess run` warns, both in one line with `words` and without a stack trace."""
    path = write(tmp_path, options)
    checked = await mess("check", "--config", path, folder=tmp_path)
    assert checked.returncode == 8, checked
    assert [line for line in checked.stdout.splitlines() if line.startswith("no") and words in line], checked.stdout
    async with running(path) as relay:
        await relay.until(lambda: relay.said("step cannot work yet"), "the warning")
        [said] = relay.said("step cannot work yet")
    assert words in said["error"]
    for output in (checked.stdout + checked.stderr, relay.text):
        assert "Traceback" not in output
        assert "s3cret" not in output


async def test_a_wrong_password(
    tmp_path: Path, replica_set: ReplicaSet, database: str, redis_server: RedisServer
) -> None:
    with redis_server.client() as client:
        client.config_set("requirepass", "right")
    url = redis_server.url.replace("//", "//:s3cret@")
    await told(tmp_path, config(replica_set, database, queue(url)), "does not accept the user or password")


async def test_a_target_of_another_kind(
    tmp_path: Path, replica_set: ReplicaSet, database: str, redis_server: RedisServer
) -> None:
    with redis_server.client() as client:
        client.set("changes", "text")
    step = queue(redis_server.url, target="changes")
    await told(tmp_path, config(replica_set, database, step), "target changes is a string, not a stream")


async def test_a_topic_that_is_missing(
    tmp_path: Path, replica_set: ReplicaSet, database: str, kafka: KafkaServer
) -> None:
    step = queue(kafka.url, target="no-such-topic")
    await told(tmp_path, config(replica_set, database, step), "create it, or choose another")


@pytest.mark.parametrize(
    ("scheme", "name"),
    [("amqp", "rabbitmq"), ("kafka", "kafka"), ("mqtt", "mqtt"), ("nats", "nats"), ("redis", "redis")],
)
async def test_a_broker_that_is_not_there(
    tmp_path: Path, replica_set: ReplicaSet, database: str, scheme: str, name: str
) -> None:
    """The line names the broker, what is wrong, the remedy, and, in a container, what localhost means there."""
    port = free_port()
    step = queue(f"{scheme}://user:s3cret@127.0.0.1:{port}")
    words = (
        f"{name} at 127.0.0.1:{port}: the connection is refused; make sure that it is running, and check host and port"
    )
    words += " in the url"
    if scheme == "kafka":  # its client gives reasons of its own
        words = "; make sure that it is running, and check the url"
    hint = ". MESS runs in a container, where localhost is the container itself" if in_container() else ""
    await told(tmp_path, config(replica_set, database, step), words + hint)


@pytest.mark.parametrize(
    ("scheme", "name"),
    [("amqp", "rabbitmq"), ("mqtt", "mqtt"), ("nats", "nats"), ("redis", "redis")],
)
async def test_a_brokers_host_that_is_unknown(
    tmp_path: Path, replica_set: ReplicaSet, database: str, scheme: str, name: str
) -> None:
    """Nothing of localhost is said."""
    step = queue(f"{scheme}://user:s3cret@broker.invalid:1")
    words = f"{name} at broker.invalid:1: the host name is unknown; check the host in the url"
    path = write(tmp_path, config(replica_set, database, step))
    checked = await mess("check", "--config", path, folder=tmp_path)
    [line] = [line for line in checked.stdout.splitlines() if line.startswith("no")]
    assert line.endswith(words)


async def test_an_endpoint_on_localhost_in_a_container(tmp_path: Path, replica_set: ReplicaSet, database: str) -> None:
    step = {"name": "http", "config": {"endpoint": f"http://localhost:{free_port()}"}}
    checked = await mess("check", "--config", write(tmp_path, config(replica_set, database, step)), folder=tmp_path)
    assert "is the endpoint running?" in checked.stdout
    assert ("localhost is the container itself" in checked.stdout) == in_container()


async def test_a_subject_that_no_stream_takes(
    tmp_path: Path, replica_set: ReplicaSet, database: str, nats_server: NatsServer
) -> None:
    step = queue(nats_server.url, target="shop.orders")
    await told(tmp_path, config(replica_set, database, step), "no stream with the subject shop.orders; create one")


async def test_an_expired_certificate(tmp_path: Path, replica_set: ReplicaSet, database: str) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    expired = authority.issue_cert("127.0.0.1", not_after=datetime.now(timezone.utc) - timedelta(days=1))
    async with Receiver(tls=server_tls(expired)) as receiver:
        step = {"name": "http", "config": {"endpoint": f"{receiver.url}?token=s3cret", "ca": "ca.pem"}}
        await told(tmp_path, config(replica_set, database, step), "has expired; renew it there")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (queue("kafk://host"), "no broker uses urls that begin with kafk://; did you mean kafka://?"),
        (queue("redis://host", target="{db"), "an unmatched brace"),
        (queue("redis://host", kafka={}), "kafka is for another broker than the url's"),
        (queue("redis://host", maxlen=5), "unknown key"),
        (queue("redis://host:6379/shop"), "the path is the number of a database; write it like redis://host:6379/0"),
        (queue("amqp://host", rabbitmq={"declare": "lazy"}), "quorum"),
        (queue("nats://host", headers={"a b": "c"}), "NATS cannot have a header"),
        (queue("mqtt://one,two"), "has a single host"),
        (queue("mqtt://host", headers={"a": "b"}, mqtt={"version": "3.1.1"}), "MQTT 3.1.1 has no headers"),
        (queue("rediss://host", ca="none.pem"), "no certificates can be read"),
    ],
)
async def test_a_mistake_in_the_config_is_told_in_its_place(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    nowhere = {"url": "mongodb://127.0.0.1:1/?serverSelectionTimeoutMS=200"}
    path = write(tmp_path, {"mongodb": nowhere, "databases": {"shop": {}}, "pipeline": [options]})
    for command in ("validate", "check", "run"):
        ended = await mess(command, "--config", path, folder=tmp_path)
        assert ended.returncode == 2, ended
        output = ended.stdout + ended.stderr
        assert words in output
        assert "pipeline[0].config" in output
        assert "Traceback" not in output
