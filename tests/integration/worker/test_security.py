"""Brokers that ask who one is, and that check what one may do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from confluent_kafka.admin import AclOperation, ResourceType

from mess.app import Relay
from mess.capture.kafka.readiness import examine
from mess.capture.preflight import Finding
from mess.config.model import KafkaSource
from mess.demo.ports import free_port
from mess.errors import SourceError
from tests.acceptance.commands import mess, running, write
from tests.conftest import servers_needed
from tests.integration.worker.conftest import Group
from tests.servers.certificates import Certificates
from tests.servers.kafka.secure import CLUSTER, PARTNER, SecureKafka
from tests.waiting import until

PASSWORD = "s3cret: p@ss/word?"
SCRAM = {"sasl_mechanism": "SCRAM-SHA-256"}

Options = dict[str, Any]
Login = Callable[[SecureKafka, Certificates], Options]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.made(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def broker(certificates: Certificates) -> Iterator[SecureKafka]:
    """Knows the users scram and plain, who have the same password."""
    with servers_needed():
        made = SecureKafka(certificates, {"plain": PASSWORD})
    with made as server:
        server.add("scram", PASSWORD)
        yield server


def allow(group: Group, user: str, *, cluster: bool = False) -> None:
    """Give a user the rights that the guide names."""
    broker = group.broker
    assert isinstance(broker, SecureKafka)
    broker.allow(user, ResourceType.TOPIC, group.topic, AclOperation.READ, AclOperation.DESCRIBE)
    broker.allow(user, ResourceType.GROUP, group.name, AclOperation.READ, AclOperation.DESCRIBE)
    if cluster:
        broker.allow(user, ResourceType.BROKER, CLUSTER, AclOperation.DESCRIBE_CONFIGS)


def with_scram(broker: SecureKafka, certificates: Certificates) -> Options:
    return {"url": broker.url_of("scram", PASSWORD), "ca": certificates.ca, **SCRAM}


def with_plain(broker: SecureKafka, certificates: Certificates) -> Options:
    return {"url": broker.url_of("plain", PASSWORD), "ca": certificates.ca}


def with_certificate(broker: SecureKafka, certificates: Certificates) -> Options:
    return {"url": broker.tls_url, **certificates.options}


@pytest.mark.parametrize(
    ("user", "login", "protocol"),
    [
        pytest.param("scram", with_scram, "consumer", id="scram"),
        pytest.param("plain", with_plain, "classic", id="plain"),
        pytest.param(PARTNER, with_certificate, "classic", id="certificate"),
    ],
)
async def test_a_worker_logs_in(
    broker: SecureKafka,
    certificates: Certificates,
    group: Group,
    user: str,
    *,
    login: Login,
    protocol: str,
) -> None:
    """Which protocol it uses depends on whether it may see the brokers' configs."""
    allow(group, user, cluster=protocol == "consumer")
    group.write(40)
    async with group.running(kafka=login(broker, certificates)) as worker:
        await group.receiver.wait_for_events(40, 30)
        assert worker.group is not None
        assert worker.group.protocol == protocol
    assert sum(group.committed().values()) == 40


def wrong_password(broker: SecureKafka, certificates: Certificates) -> Options:
    return {"url": broker.url_of("late", PASSWORD), "ca": certificates.ca, **SCRAM}


def unknown_authority(broker: SecureKafka, certificates: Certificates) -> Options:
    return {"url": broker.url_of("scram", PASSWORD), **SCRAM}


def without_certificate(broker: SecureKafka, certificates: Certificates) -> Options:
    return {"url": broker.tls_url, "ca": certificates.ca}


def without_tls(broker: SecureKafka, certificates: Certificates) -> Options:
    return {"url": broker.tls_url.replace("kafkas", "kafka")}


def other_mechanism(broker: SecureKafka, certificates: Certificates) -> Options:
    return {**with_plain(broker, certificates), "sasl_mechanism": "SCRAM-SHA-512"}


FAILURES = {
    wrong_password: "check user and password in the url, and sasl_mechanism",
    unknown_authority: "certificate verify failed; set ca to the certificate of its authority",
    without_certificate: "set client_certificate to one that the broker trusts",
    without_tls: "check that the port is the one for such urls: kafkas:// is for TLS",
    other_mechanism: "supported mechanisms: PLAIN,SCRAM-SHA-256; set sasl_mechanism to one of these",
}


async def test_check_explains_a_login_that_fails(
    broker: SecureKafka, certificates: Certificates, tmp_path: Path
) -> None:
    async def found(login: Login) -> list[Finding]:
        source = KafkaSource(**login(broker, certificates), topics=("changes",), group="webhooks")
        return [each async for each in examine(source, tmp_path, 3.0)]

    results = await asyncio.gather(*map(found, FAILURES))
    for [finding], words in zip(results, FAILURES.values(), strict=True):
        assert not finding.ok
        assert words in finding.what
        assert "s3cret" not in finding.what


@pytest.mark.parametrize(
    "login",
    [wrong_password, *(pytest.param(each, marks=pytest.mark.long) for each in FAILURES if each is not wrong_password)],
)
async def test_a_login_that_fails_is_explained_without_secrets_and_tried_again(
    broker: SecureKafka, certificates: Certificates, group: Group, login: Login
) -> None:
    """By `mess check`, in the log, and by /readyz. As soon as it succeeds, events are delivered."""
    group.write(20)
    port, words = free_port(), FAILURES[login]
    path = write(group.folder, group.config(kafka=login(broker, certificates), admin={"port": port}))
    checking = asyncio.create_task(mess("check", "--config", path, folder=group.folder))
    async with running(path, "--log-level", "debug") as worker, aiohttp.ClientSession() as session:

        async def page(name: str) -> tuple[int, str]:
            async with session.get(f"http://127.0.0.1:{port}/{name}") as answer:
                return answer.status, await answer.text()

        await worker.until(lambda: worker.said("Kafka cannot be read at present"), "the reason is logged")
        [said] = worker.said("Kafka cannot be read at present")
        assert words in said["error"]
        status, ready = await page("readyz")
        assert (status, words in ready) == (503, True), ready
        _, shown = await page("status")
        assert words in shown
        checked = await checking
        assert checked.returncode == 3, checked
        assert [line for line in checked.stdout.splitlines() if line.startswith("no") and words in line], checked.stdout
        if login is wrong_password:
            broker.add("late", PASSWORD)
            allow(group, "late")
            await group.receiver.wait_for_events(20, 30)
            assert (await page("readyz"))[0] == 200
        for text in (checked.stdout + checked.stderr, worker.text, ready, shown):
            assert "s3cret" not in text
            assert "Traceback" not in text


async def test_the_members_are_known_soon(broker: SecureKafka, certificates: Certificates, group: Group) -> None:
    """Although more is asked while the first connection is made, with TLS."""
    allow(group, "scram", cluster=True)
    async with group.running(kafka=with_scram(broker, certificates)) as worker:
        await until(lambda: worker.group is not None and worker.group.members == 1, "they are unknown", 8)


async def test_a_worker_that_may_not_read_the_group_ends_with_the_remedy(
    broker: SecureKafka, certificates: Certificates, group: Group
) -> None:
    broker.allow("scram", ResourceType.TOPIC, group.topic, AclOperation.READ)
    with pytest.raises(SourceError, match=f"allow this user to read the group {group.name}"):
        await group.worker(kafka=with_scram(broker, certificates)).run()


def problem(worker: Relay) -> str:
    """Why it cannot read, as operators see it."""
    return str((worker.group and worker.group.problem) or "")


async def test_a_topic_that_may_not_be_read_is_read_as_soon_as_it_may(
    broker: SecureKafka, certificates: Certificates, group: Group
) -> None:
    broker.allow("scram", ResourceType.BROKER, CLUSTER, AclOperation.DESCRIBE_CONFIGS)
    broker.allow("scram", ResourceType.GROUP, group.name, AclOperation.READ)
    group.write(20)
    relay = group.worker(kafka=with_scram(broker, certificates))
    task = asyncio.create_task(relay.run())
    try:
        await until(lambda: "this user may not see it" in problem(relay), "it does not say why it waits")
        allow(group, "scram")
        await group.receiver.wait_for_events(20, 30)
        await until(lambda: not problem(relay), "the problem is not over", 8)
    finally:
        relay.stop()
        await task
