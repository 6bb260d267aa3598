"""Who may see documents and the config, and who may change something."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from ipaddress import ip_address

from aiohttp import web

from mess.config.model import Admin

CHANGES = "mess-request"
"""Requests that change something need this header, which forms and links of other pages cannot send."""
_PROXIES = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")
_SET_TOKEN = "set admin.token in the config"


@dataclass(frozen=True, slots=True)
class Grant:
    """What a client may do. `why` says why it may not do more, and how to get there; None if it may do everything.
    `status` is that of the answer to a request for more, and `wrong` is whether it gave a wrong token."""

    private: bool
    why: str | None = None
    status: int = 403
    wrong: bool = False


class Access:
    """Decides by the config's `admin` section.

    With a token, clients must send it. Without one, only clients on this machine are trusted: the server is bound to
    loopback, and no proxy, behind which anyone might be, has passed the request on.
    """

    def __init__(self, admin: Admin) -> None:
        self._token = None if admin.token is None else admin.token.get_secret_value().encode()
        self._loopback = is_loopback(admin.host)

    def judge(self, request: web.BaseRequest) -> Grant:
        """What the sender of a request may do."""
        if self._token is not None:
            scheme, _, given = request.headers.get("Authorization", "").partition(" ")
            if not given:
                return Grant(False, "send the token of admin.token: Authorization: Bearer …", status=401)
            # Bytes, since compare_digest refuses text that is not ASCII.
            right = hmac.compare_digest(given.strip().encode("utf-8", "surrogateescape"), self._token)
            if scheme.lower() == "bearer" and right:
                return Grant(True)
            return Grant(False, "the token is wrong; it has to be the one in admin.token", status=401, wrong=True)
        if not self._loopback:
            return Grant(
                False,
                f"without a token, documents, the config and changes are only for clients on the relay's own machine, "
                f"and this server is bound to other addresses, too; {_SET_TOKEN}",
            )
        if any(name in request.headers for name in _PROXIES) or any(
            name.lower().startswith("x-forwarded-") for name in request.headers
        ):
            return Grant(
                False,
                f"without a token, documents, the config and changes are not for requests that come through a proxy; "
                f"{_SET_TOKEN}",
            )
        return Grant(True)


def is_loopback(host: str) -> bool:
    """Whether only clients on this machine reach a server that listens on `host`."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
