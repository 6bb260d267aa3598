"""Warnings about insecure connections, shared by steps and the config's checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlsplit

UNVERIFIED = (
    "the other side's certificate is not verified, so anyone on the network path can read and change what is sent; "
    "name the "
    "authority to trust instead"
)
"""The warning for TLS without verification."""

_UNVERIFIED_PARAMETERS = {
    "tlsinsecure": ("true",),
    "tlsallowinvalidcertificates": ("true",),
    "tlsallowinvalidhostnames": ("true",),
    "ssl_cert_reqs": ("none", "cert_none", "optional"),
    "ssl_check_hostname": ("false", "no", "0"),
}


def plain_http(url: str, what: str) -> str | None:
    """The warning for sending `what` to a url; None if the connection is encrypted or stays on this machine."""
    parts = urlsplit(url)
    if parts.scheme != "http" or is_loopback(parts.hostname or ""):
        return None
    return f"{what} sent over plain http, where anyone on the network path can read them; use https"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def unverified(url: str) -> Iterator[str]:
    """The parameters of a MongoDB or broker url that turn certificate verification off."""
    for name, value in parse_qsl(url.partition("?")[2]):
        if value.lower() in _UNVERIFIED_PARAMETERS.get(name.lower(), ()):
            yield name


def hold_credentials(headers: Mapping[str, str]) -> bool:
    """Whether any of these headers is named like one that carries credentials."""
    words = ("auth", "token", "secret", "api-key", "apikey", "cookie", "password", "credential")
    return any(word in name.lower() for name in headers for word in words)
