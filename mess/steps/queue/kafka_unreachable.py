"""Why Kafka cannot be reached, and the remedy, from what its client says."""

from __future__ import annotations

from mess.errors import EndpointDown
from mess.steps.queue.unreachable import unreachable

_PORT = "check that the port is the one for such urls: kafkas:// is for TLS, and user and password are for SASL"
_RUNNING = f"make sure that it is running, and {_PORT}"
# The first that fits: words in lower case; what to say instead, if the client's words name options of its own; and the
# remedy.
_REMEDIES = (
    ("unsupported sasl mechanism", "", "set sasl_mechanism to one of these"),
    ("not valid in current sasl state", "it asks for no user", _PORT),
    ("sasl", "", "check user and password in the url, and sasl_mechanism"),
    (
        "certificate verify failed",
        "certificate verify failed",
        "set ca to the certificate of its authority, and use a host that it was issued for",
    ),
    ("alert", "", "set client_certificate to one that the broker trusts"),
    ("closed by peer", "it closes the connection", _RUNNING),
    ("broker transport failure", "it closes the connection or does not answer", _RUNNING),
)


def kafka_unreachable(hosts: str, reason: str) -> EndpointDown:
    """The error for brokers at `hosts` (`host:port,…`) that cannot be reached for this reason, in the client's
    words."""
    about, said = f"kafka at {hosts}", _stable(reason)
    for words, instead, remedy in _REMEDIES:
        if words in said.lower():
            return EndpointDown(f"{about}: {instead or said}; {remedy}")
    return unreachable(about, hosts, said)


def _stable(reason: str) -> str:
    """A reason without the broker's address in front, and without what differs each time behind: when it happened, and
    how often since the last time."""
    said = reason.partition(" (after ")[0]
    where, _, what = said.partition(": ")
    return what if what and "://" in where else said
