"""Signatures that let a receiver verify a webhook: Standard Webhooks 1.0.0."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from mess.options.base import Options
from mess.options.secret import Secret, of_signing_secret

_PREFIX = "whsec_"
_BYTES = range(24, 65)  # the length of a secret, by the specification
_MEND = (
    "not a signing secret; write whsec_ and the base64 of 24 to 64 random bytes, as in whsec_$(openssl rand -base64 32)"
)


def _key(secret: str) -> bytes:
    """Decode the key in a secret. Raises ValueError."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(_MEND) from error
    if not secret.startswith(_PREFIX) or len(key) not in _BYTES:
        raise ValueError(_MEND)
    return key


def _checked(secret: SecretStr) -> SecretStr:
    _key(secret.get_secret_value())
    return secret


SigningSecret = Annotated[SecretStr, AfterValidator(_checked), Secret(of_signing_secret)]


class Sign(Options):
    """Signs every request according to Standard Webhooks, in the `webhook-signature` header."""

    secret: SigningSecret | Annotated[tuple[SigningSecret, ...], Field(min_length=1)]
    """The secret shared with the receiver: `whsec_` and the base64 of 24 to 64 random bytes. While you rotate a secret,
    give a list with the new one first: each one signs, and a receiver accepts any that it knows."""

    def signer(self) -> Signer:
        """The signer for these secrets."""
        secrets = self.secret if isinstance(self.secret, tuple) else (self.secret,)
        return Signer([_key(secret.get_secret_value()) for secret in secrets])


class Signer:
    """Signs with each key in `keys`."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    def __call__(self, identity: str, timestamp: str, body: bytes) -> str:
        """The value of `webhook-signature`, given a request's id, its timestamp (seconds since 1970), and the exact
        bytes of its body."""
        content = b"%b.%b.%b" % (identity.encode(), timestamp.encode(), body)
        return " ".join(["v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode() for key in self._keys])
