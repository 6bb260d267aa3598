"""How a receiver verifies a webhook by Standard Webhooks, with a shared secret. Written like a receiver's own code: it
shares nothing with the code that signs."""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Mapping
from typing import Literal, NamedTuple

_PREFIX = "whsec_"
_TOLERANCE = 300
"""How many seconds a timestamp may differ from the receiver's clock, as the specification recommends."""


class Check(NamedTuple):
    """The result of a check: what the page shows, and for one that is not valid, why."""

    result: Literal["valid", "invalid", "unsigned"]
    why: str = ""


def new_secret() -> str:
    """A random secret in the form that sender and receiver are configured with."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def check(secret: str, headers: Mapping[str, str], body: bytes, *, now: float) -> Check:
    """Check a request's signature at `now`, in seconds since the epoch. `headers` ignores case."""
    signatures = headers.get("webhook-signature")
    if signatures is None:
        return Check("unsigned", "there is no webhook-signature header")
    identity, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) < 20):
        return Check("invalid", "webhook-timestamp is not a number of seconds")
    if abs(int(timestamp) - now) > _TOLERANCE:
        return Check("invalid", "webhook-timestamp is more than five minutes from the receiver's clock")
    content = b"%b.%b.%b" % (identity.encode(errors="surrogateescape"), timestamp.encode(), body)
    expected = hmac.digest(base64.b64decode(secret.removeprefix(_PREFIX)), content, "sha256")
    wanted = b"v1," + base64.b64encode(expected)
    # Several while a secret is rotated: one that fits is enough.
    if any(hmac.compare_digest(wanted, each.encode(errors="surrogateescape")) for each in signatures.split(" ")):
        return Check("valid")
    return Check("invalid", "no signature fits this id, timestamp, body and secret")
