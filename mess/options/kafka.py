"""Settings that every client of a Kafka broker needs, for librdkafka."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from mess.options.tls import Tls

Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]


OF_THE_SOURCE = frozenset(
    {
        "auto.offset.reset",
        "bootstrap.servers",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.partition.eof",
        "group.id",
        "group.instance.id",
        "group.remote.assignor",
        "heartbeat.interval.ms",
        "internal.termination.signal",
        "isolation.level",
        "metadata.broker.list",
        "partition.assignment.strategy",
        "plugin.library.paths",
        "session.timeout.ms",
        "statistics.interval.ms",
    }
)
"""The settings that only MESS may set for a source: those that its options are for, and what it relies on."""
_FORM = "write it like kafka://host:9092,host2:9092, or kafkas:// for TLS"


def checked_url(url: str) -> str:
    """The url itself. Raises ValueError if it is not one of Kafka."""
    try:
        parts = urlsplit(url)
        scheme, hosts = parts.scheme, hosts_of(url)
    except ValueError as error:
        raise ValueError(f"not a URL; {_FORM}") from error
    if scheme not in ("kafka", "kafkas"):
        raise ValueError(f"not a URL of Kafka; {_FORM}")
    if not all(hosts.split(",")):
        raise ValueError(f"has no host; {_FORM}")
    return url


def hosts_of(url: str) -> str:
    """The `host:port,…` of a url, without user and password."""
    return urlsplit(url).netloc.rpartition("@")[2]


def connection_settings(url: str, mechanism: Mechanism, tls: Tls) -> dict[str, Any]:
    """How to reach the brokers of a `kafka://` or `kafkas://` url, and how to log in there."""
    credentials, _, hosts = urlsplit(url).netloc.rpartition("@")
    secure = url.startswith("kafkas:")
    settings: dict[str, Any] = {
        "bootstrap.servers": hosts,
        "client.id": "mess",
        "socket.keepalive.enable": True,
        "reconnect.backoff.max.ms": 1000,
        "security.protocol": ("SASL_" if credentials else "") + ("SSL" if secure else "PLAINTEXT"),
    }
    if credentials:
        user, _, password = credentials.partition(":")
        settings |= {"sasl.mechanism": mechanism, "sasl.username": unquote(user), "sasl.password": unquote(password)}
    return settings | (_tls(tls) if secure else {})


def unverified(config: Mapping[str, Any]) -> bool:
    """Whether a user's settings turn the verification of certificates off."""
    values = {name: str(value).lower() for name, value in config.items()}
    off = {"enable.ssl.certificate.verification": "false", "ssl.endpoint.identification.algorithm": "none"}
    return any(values.get(name) == value for name, value in off.items())


def offline(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without those that make a client connect to brokers or to a token issuer."""
    found = {name: value for name, value in settings.items() if name != "bootstrap.servers"}
    if "OAUTHBEARER" in map(str, found.values()):
        found = {name: value for name, value in found.items() if not name.startswith("sasl.")}
        found["security.protocol"] = str(found["security.protocol"]).upper().removeprefix("SASL_")
    return found


def _tls(tls: Tls) -> dict[str, Any]:
    files = {
        "ssl.ca.location": tls.ca,
        "ssl.certificate.location": tls.certificate,
        "ssl.key.location": tls.key,
        "ssl.key.password": tls.password,
    }
    given = {name: value for name, value in files.items() if value is not None}
    return {"enable.ssl.certificate.verification": tls.verify, **given}
