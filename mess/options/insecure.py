"""What weakens the security of a connection: texts that steps and the config's checks share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from urllib.parse import parse_qsl, urlsplit

UNVERIFIED = (
    "the certificate of the other side is not checked, so anyone on the way can read and change what is sent; name the "
    "authority to trust instead"
)
"""What to say where TLS goes without verification."""

_UNVERIFIED_PARAMETERS = {
    "tlsinsecure": ("true",),
    "tlsallowinvalidcertificates": ("true",),
    "tlsallowinvalidhostnames": ("true",),
    "ssl_cert_reqs": ("none", "cert_none", "optional"),
    "ssl_check_hostname": ("false", "no", "0"),
}


def plain_http(url: str, what: str) -> str | None:
    """What to say of `what` that is sent to a url; None where it is encrypted, or stays on this machine."""
    parts = urlsplit(url)
    if parts.scheme != "http" or is_loopback(parts.hostname or ""):
        return None
    return f"{what} sent over plain http, where anyone on the way can read them; use https"


def is_loopback(host: str) -> bool:
    """Whether a host is this machine itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def unverified(url: str) -> Iterator[str]:
    """The parameters of a url, MongoDB's or a broker's, that turn the verification of certificates off."""
    for name, value in parse_qsl(url.partition("?")[2]):
        if value.lower() in _UNVERIFIED_PARAMETERS.get(name.lower(), ()):
            yield name


def hold_credentials(headers: Mapping[str, str]) -> bool:
    """Whether a header among these is named like those that carry credentials."""
    words = ("auth", "token", "secret", "api-key", "apikey", "cookie", "password", "credential")
    return any(word in name.lower() for name in headers for word in words)
