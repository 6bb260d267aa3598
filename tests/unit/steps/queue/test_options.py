"""What every broker does with its options, without a server."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from mess.errors import ConfigError
from mess.steps.base import Context
from mess.steps.queue.brokers import BROKERS
from mess.steps.queue.step import QueueConfig

URLS = {name: f"{BROKERS.find(name).schemes[0]}://host" for name in BROKERS.names()}

CLIENTS = [
    ("kafka", "confluent_kafka"),
    ("mqtt", "paho.mqtt"),
    ("nats", "nats"),
    ("nats", "nkeys"),
    ("rabbitmq", "pika"),
    ("redis", "redis.asyncio"),
    ("redis", "hiredis"),
]


@pytest.mark.parametrize(("broker", "module"), CLIENTS)
def test_without_the_client_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch, broker: str, module: str) -> None:
    """The extra has the broker's name."""
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "nats.aio.client", raising=False)
    with pytest.raises(ConfigError, match=rf"pip install 'mess\[{broker}\]'"):
        QueueConfig(url=URLS[broker]).build(Context())


def test_every_broker_has_a_client() -> None:
    assert {broker for broker, _ in CLIENTS} == URLS.keys()


@pytest.mark.parametrize("broker", URLS)
def test_the_section_of_another_broker_is_a_mistake(broker: str) -> None:
    for other in URLS.keys() - {broker}:
        with pytest.raises(ValueError, match=f"{other} is for another broker than the url's; .* is {broker}"):
            QueueConfig.model_validate({"url": URLS[broker], other: {}})


@pytest.mark.parametrize("broker", URLS)
def test_an_unknown_option_of_a_section_is_a_mistake(broker: str) -> None:
    with pytest.raises(ValueError, match=f"{broker}.no_such"):
        QueueConfig.model_validate({"url": URLS[broker], broker: {"no_such": 1}})


@pytest.mark.parametrize("broker", URLS)
def test_a_file_for_tls_that_is_missing_is_a_mistake(broker: str) -> None:
    with pytest.raises(ConfigError, match=r"no certificates can be read from .*none\.pem"):
        QueueConfig(url=URLS[broker], ca="none.pem").build(Context())


@pytest.mark.parametrize("broker", URLS)
def test_verification_that_is_off_is_warned_of(broker: str) -> None:
    assert [path for path, _ in QueueConfig(url=URLS[broker], verify=False).warnings()] == ["verify"]
    assert not list(QueueConfig(url=URLS[broker]).warnings())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"url": "http://host"}, "known are kafka://, .*, redis://"),
        ({"url": "redis://"}, "has no host"),
        ({"url": "kafka://a:9092,"}, "has no host"),
        ({"url": "redis://host:port"}, "not a URL"),
        ({"url": "redis://two..dots"}, "not a URL"),
        ({"url": "amqp://guest:pa#ss@host"}, r"not a URL; write it like amqp://host.*# as %40"),
        ({"url": "amqp://guest:p@ss/w#rd@host:5"}, "there is an @ in the wrong place.*%40"),
        ({"url": "nats://token#secret@host"}, "there is an @ in the wrong place.*%40"),
        ({"url": "mqtt://relay:12/secret@host"}, "there is an @ in the wrong place.*%40"),
        ({"url": "nats://a:b@one,nats://a:b@two"}, "several URLs; write one, with its hosts"),
        ({"url": "redis://host", "timeout": "0s"}, "timeout"),
        ({"url": "redis://host", "target": "{db"}, "brace"),
        ({"url": "redis://host", "headers": {"a": "{x..y}"}}, "path"),
        ({"url": "redis://host/0?no_such=1"}, "parameter of the url"),
        ({"url": "kafka://host", "kafka": {"config": {"acks": 1}}}, "acks cannot be set"),
        # Without reports, nothing would ever be confirmed.
        (
            {"url": "kafka://host", "kafka": {"config": {"delivery.report.only.error": True}}},
            "delivery.report.only.error cannot be set",
        ),
        ({"url": "kafka://host", "kafka": {"config": {"transactional.id": "a"}}}, "transactional.id cannot be set"),
        ({"url": "kafka://host", "kafka": {"config": {"no.such.setting": "x"}}}, r"no\.such\.setting"),
        ({"url": "mqtt://host", "mqtt": {"version": "4"}}, "3.1.1"),
        ({"url": "mqtt://host", "mqtt": {"keepalive": 0}}, r"mqtt\.keepalive"),
        ({"url": "mqtt://host", "headers": {"a\n": "b"}}, "cannot contain control characters"),
        ({"url": "mqtt://host", "headers": {"": "b"}}, "needs a name"),
        ({"url": "mqtt://one,two"}, "has a single host"),
        ({"url": "nats://host", "nats": {"stream": {"name": "a.b", "subjects": ["x"]}}}, r"stream\.name"),
        ({"url": "nats://host", "nats": {"stream": {"name": "a", "subjects": []}}}, r"stream\.subjects"),
        ({"url": "nats://host", "nats": {"credentials": "none.creds"}}, r"there is no file .*none.creds"),
        ({"url": "nats://host", "headers": {"odd ☃": "x"}}, "NATS cannot have a header"),
        ({"url": "nats://host", "headers": {"": "x"}}, "NATS cannot have a header"),
        ({"url": "amqp://host", "rabbitmq": {"declare": "lazy"}}, "quorum"),
        ({"url": "amqp://host", "headers": {"x" * 256: "y"}}, "255 bytes"),
        ({"url": "amqp://host/a?heartbeat=often"}, "amqp://user:password@host"),
    ],
    ids=str,
)
def test_bad_options_are_told_with_the_remedy(options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, ConfigError), match=message):
        QueueConfig.model_validate(options).build(Context())


def test_several_hosts_and_no_password_are_shown() -> None:
    config = QueueConfig(url="kafkas://user:secret@a:9092,b:9092")
    assert config.describe() == "queue kafkas://a:9092,b:9092 {db}.{collection}"
