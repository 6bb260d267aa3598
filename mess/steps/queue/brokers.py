"""Finds brokers by their name or by a url: built-in ones and those of installed packages."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from mess.registry import Registry
from mess.similar import closest_name
from mess.steps.queue.broker import Broker

BROKERS: Registry[Broker] = Registry(
    "broker",
    Broker,
    "mess.steps.queue.broker.Broker",
    {
        "kafka": "mess.steps.queue.kafka:KafkaBroker",
        "mqtt": "mess.steps.queue.mqtt:MqttBroker",
        "nats": "mess.steps.queue.nats:NatsBroker",
        "rabbitmq": "mess.steps.queue.rabbitmq:RabbitBroker",
        "redis": "mess.steps.queue.redis:RedisBroker",
    },
)
"""The classes of all brokers."""


def broker_of(url: Any) -> str | None:
    """The name of the broker whose urls have this url's scheme; None if there is none, or if it is no url."""
    try:
        scheme = urlsplit(url).scheme
    except (ValueError, AttributeError, TypeError):
        return None
    for name in BROKERS.names():
        if scheme in BROKERS.find(name).schemes:
            return name
    return next((name for name, broker in BROKERS.installed().items() if scheme in broker.schemes), None)


def urls() -> str:
    """Examples of the urls of all built-in brokers, as Markdown."""
    found: list[str] = []
    for broker in map(BROKERS.find, BROKERS.names()):
        first, *others = broker.schemes
        found.append(" or ".join([f"`{first}://{broker.address}`", *(f"`{other}://…`" for other in others)]))
    return ", ".join(found)


def unknown(scheme: str) -> str:
    """The message for a url whose scheme no broker has."""
    brokers = [*map(BROKERS.find, BROKERS.names()), *BROKERS.installed().values()]
    schemes = [scheme for broker in brokers for scheme in broker.schemes]
    closest = closest_name(scheme, schemes)
    hint = f"did you mean {closest}://?" if closest else f"known are {', '.join(f'{each}://' for each in schemes)}"
    return "; ".join([f"no broker uses urls that begin with {scheme or 'nothing'}://", hint, *BROKERS.broken()])
