"""Which host names the admin server accepts.

A page of another origin can make its own name resolve to this machine (DNS rebinding) and then read this server's
answers, but its requests still carry that name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from ipaddress import ip_address

_SHOWN = 100  # characters

# An interface name, including VLANs (eth0.100); Python accepts any text.
_ZONE = re.compile(r"[a-z0-9_-]+(\.[0-9]+)?")


class Hosts:
    """Accepts IP addresses, `localhost`, and `names`, which may be globs."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names)}

    def accept(self, header: str) -> bool:
        """Whether a Host header names this server."""
        name = _without_port(header).lower().rstrip(".")
        return _is_address(name) or any(fnmatchcase(name, pattern) for pattern in self._names)

    def refused(self, headers: Iterable[str]) -> str | None:
        """The first of a request's Host headers that does not name this server, without the port and cut; None if all
        do."""
        return next((_without_port(each)[:_SHOWN] for each in headers if not self.accept(each)), None)


def _without_port(header: str) -> str:
    """The name or address in a Host header, without the port."""
    name, colon, port = header.rpartition(":")
    return name if colon and not name.endswith(":") and (port.isdecimal() or not port) else header


def _is_address(name: str) -> bool:
    address = name.removeprefix("[").removesuffix("]")
    _, percent, zone = address.partition("%")
    try:
        ip_address(address)
    except ValueError:
        return False
    return not percent or _ZONE.fullmatch(zone) is not None
