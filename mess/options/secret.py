"""Which options are secret, and which parts of them no message may contain.

An option of pydantic's type `SecretStr` is secret as a whole. An option that contains a secret, such as a URL, has the
type `Annotated[str, Secret(parts)]`, where `parts` returns the secret parts of a value.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

SHORTEST = 6
"""Shorter values are not searched for: they would occur in unrelated texts."""
LONG = 16
"""A constant path segment with at least this many characters is treated as a secret."""

_PLACE = re.compile(r"\{[^{}]*\}")
_TELLING = ["apikey", "authorization", "cookie", "credential", "passphrase", "passwd", "password", "secret"]
_TELLING += ["oauthbearer.config", "signature", "token"]
_TELLING_WORDS = frozenset({"auth", "key", "pwd", "session", "sid"})
_NOT_TELLING = ("idempotency-key", "location", "www-authenticate")
_SCHEMES = frozenset({"basic", "bearer", "digest", "apikey", "api-key", "token", "negotiate"})


class Part(NamedTuple):
    """A text that no message may contain. `own` is whether it certainly is a password or the like, rather than
    possibly."""

    text: str
    own: bool = True


Parts = Callable[[Any], Iterable[Part]]
"""Returns the secret parts of a value as the user wrote it, which may have any type."""


def whole(value: Any) -> Iterator[Part]:
    """The value itself."""
    if isinstance(value, str):
        yield Part(value)


@dataclass(frozen=True)
class Secret:
    """Marks an option as secret, or as containing secrets: `Annotated[str, Secret()]`."""

    parts: Parts = whole


def names_a_secret(name: str) -> bool:
    """Whether something with this name is usually secret: `X-Api-Key`, `Cookie`, `sasl.password`, `access_token`."""
    name = name.lower()
    if name.endswith(_NOT_TELLING):
        return False
    return any(part in name for part in _TELLING) or not _TELLING_WORDS.isdisjoint(re.split(r"[-_.]", name))


def of_mongodb_url(value: Any) -> Iterator[Part]:
    """The secrets in a MongoDB connection string: user and password, an AWS session token, and the key file's
    password."""
    if not isinstance(value, str):
        return
    rest = value.partition("://")[2]
    yield from _of_login(rest)
    for name, text in parse_qsl(rest.partition("?")[2]):
        if name.lower() == "authmechanismproperties":
            pairs = [pair.partition(":") for pair in text.split(",")]
            yield from (Part(inner) for key, _, inner in pairs if names_a_secret(key))
        elif name.lower().endswith(("password", "passphrase")):
            yield Part(text)


def of_broker_url(value: Any) -> Iterator[Part]:
    """The secrets in a broker's url: user and password, or a token in place of the user, and parameters that are named
    like secrets."""
    if not isinstance(value, str):
        return
    rest = value.partition("://")[2]
    yield from _of_login(rest, token=True)
    yield from (Part(text) for name, text in parse_qsl(rest.partition("?")[2]) if names_a_secret(name))


def of_http_url(value: Any) -> Iterator[Part]:
    """The secrets in an endpoint's URL or URL template: user and password, the whole path and its long segments, and
    the values of all parameters."""
    if not isinstance(value, str):
        return
    yield from _of_user(_authority(value.partition("://")[2]).rpartition("@")[0], token=True)
    try:
        parts = urlsplit(value)
    except ValueError:
        return
    constant = _PLACE.split(parts.path)
    if len(constant) == 1:
        yield Part(parts.path, own=False)
    else:
        yield from (Part(piece, own=False) for piece in constant if len(piece) >= LONG)
    for segment in parts.path.split("/"):
        yield from (Part(piece, own=False) for piece in _PLACE.split(segment) if len(piece) >= LONG)
    for text in (parts.query, parts.fragment):
        yield from (Part(piece, own=False) for piece in _PLACE.split(text))
        for pair in text.split("&"):
            yield from (Part(piece, own=False) for piece in _PLACE.split(pair.partition("=")[2]))


def of_headers(value: Any) -> Iterator[Part]:
    """The secrets in headers, given by name: the values of those that carry credentials (Authorization, Cookie,
    X-Api-Key and the like), and parts of these values."""
    if isinstance(value, Mapping):
        for name, text in value.items():
            if isinstance(text, str) and names_a_secret(str(name)):
                yield from of_credentials(text)


def of_credentials(value: str) -> Iterator[Part]:
    """A header's value and its parts: what follows the scheme, and what follows a name like `session=`."""
    first, _, rest = value.partition(" ")
    if first.lower() in _SCHEMES:
        value = rest.strip()
        if first.lower() == "basic":
            yield from of_basic(value)
    yield Part(value)
    for word in re.split(r"[;,\s]+", value):
        yield Part(word, own=False)
        yield Part(word.partition("=")[2].strip('"'), own=False)


def of_basic(value: str) -> Iterator[Part]:
    """The contents of basic authentication's base64."""
    try:
        yield from _of_user(base64.b64decode(value, validate=True).decode())
    except (binascii.Error, ValueError):
        return


def of_signing_secret(value: Any) -> Iterator[Part]:
    """A Standard Webhooks secret or private key, with and without its prefix."""
    if isinstance(value, str):
        yield Part(value)
        yield Part(value.removeprefix("whsec_").removeprefix("whsk_"))


def of_settings(value: Any) -> Iterator[Part]:
    """The values of settings whose names suggest a secret."""
    if isinstance(value, Mapping):
        for name, text in value.items():
            if isinstance(text, str) and names_a_secret(str(name)):
                yield from of_http_url(text) if text.startswith(("http://", "https://")) else whole(text)


def _authority(rest: str) -> str:
    return re.split(r"[/?#]", rest, maxsplit=1)[0]


def _of_login(rest: str, *, token: bool = False) -> Iterator[Part]:
    """The user and password at the beginning of what follows `://` in a url."""
    yield from _of_user(_authority(rest).rpartition("@")[0], token=token)
    # Both may contain unescaped delimiters, so the last @ is the one that ends them.
    yield from (part._replace(own=False) for part in _of_user(rest.rpartition("@")[0], token=token))


def _of_user(info: str, *, token: bool = False) -> Iterator[Part]:
    """The parts of `user:password`, escaped and unescaped; of a user alone if it is a token."""
    user, colon, password = info.partition(":")
    if not colon and not token:
        return
    secret = password if colon else user
    yield Part(secret)
    if len(secret) < SHORTEST:
        yield Part(info, own=False)
    yield Part(unquote(secret), own=False)
    # If these are not escaped, a reader of the url takes them for delimiters.
    yield from (Part(piece, own=False) for piece in re.split(r"[@/?#]", secret))
