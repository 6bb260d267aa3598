"""The servers of a MongoDB deployment, as given by its connection string."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote

from mess.container import host_of

_SRV = "mongodb+srv://"
_PORT = 27017
_TRUE = "true"


Address = tuple[str, int]


def written(address: Address) -> str:
    """`host:port`, with an IPv6 address in brackets."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True, slots=True)
class ConnectionString:
    """A connection string, and its config key (`mongodb.url`, `state.url`)."""

    url: str = field(repr=False)
    option: str = "mongodb.url"

    @property
    def is_srv(self) -> bool:
        """Whether the servers are looked up in DNS."""
        return self.url.lower().startswith(_SRV)

    @property
    def hosts(self) -> str:
        """`host:port,host:port`, without user and password, for messages."""
        if self.is_srv:
            return self._netloc
        return ",".join(map(written, self.addresses)) or unquote(self._netloc)

    @property
    def addresses(self) -> list[Address]:
        """The servers that it names; none for a name that needs a DNS lookup, and for a Unix socket."""
        found = []
        for each in [] if self.is_srv else self._netloc.split(","):
            host = host_of(each)
            port = each.rpartition(":")[2] if each.rstrip("]") != host and not each.endswith("]") else ""
            if "%2f" not in each.lower():
                found.append((host, int(port) if port.isdecimal() else _PORT))
        return found

    @property
    def waits(self) -> float | None:
        """How many seconds the connection string says to wait for a server (`serverSelectionTimeoutMS`)."""
        text = self._options.get("serverselectiontimeoutms", "")
        return int(text) / 1000 if text.isdecimal() else None

    @property
    def tls(self) -> ssl.SSLContext | None:
        """Its TLS settings; None without TLS. Raises OSError for files that cannot be read."""
        options = self._options
        asked = options.get("tls", options.get("ssl", _TRUE if self.is_srv else "")).lower()
        certificate = options.get("tlscertificatekeyfile")
        if asked != _TRUE and not (asked == "" and any(name.startswith("tls") for name in options)):
            return None
        insecure = options.get("tlsinsecure", "").lower() == _TRUE
        context = ssl.create_default_context(cafile=options.get("tlscafile"))
        if insecure or options.get("tlsallowinvalidhostnames", "").lower() == _TRUE:
            context.check_hostname = False
        if insecure or options.get("tlsallowinvalidcertificates", "").lower() == _TRUE:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if certificate:
            context.load_cert_chain(certificate, password=options.get("tlscertificatekeyfilepassword"))
        return context

    @property
    def _netloc(self) -> str:
        return self.url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2]

    @property
    def _options(self) -> dict[str, str]:
        return {name.lower(): value for name, value in parse_qsl(self.url.partition("?")[2])}
