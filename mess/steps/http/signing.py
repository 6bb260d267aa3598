"""Signatures that let a receiver verify a webhook: Standard Webhooks 1.0.0, with HMAC-SHA256 and Ed25519."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Sequence
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr

from mess.errors import ConfigError, Problem
from mess.options.base import Options
from mess.options.extras import required
from mess.options.secret import Secret, of_signing_secret

_SHARED, _PRIVATE, _PUBLIC = "whsec_", "whsk_", "whpk_"
_BYTES = range(24, 65)  # the length of a shared secret, by the specification
_SEED = 32  # Ed25519: RFC 8032, 5.1.5
_PAIR = 64  # libsodium's form of a private key: the seed, followed by the public key
_REMEDY = (
    "not a signing secret; write whsec_ and the base64 of 24 to 64 random bytes, as in whsec_$(openssl rand -base64 32)"
    ", or an Ed25519 private key: whsk_ and the base64 of its 32 bytes"
)


def _decoded(secret: str) -> bytes:
    """The bytes in a secret: a shared secret, or the 32 or 64 bytes of a private key. Raises ValueError."""
    if secret.startswith(_PUBLIC):
        raise ValueError("this is a public key, for receivers; sign with the private key that it belongs to, whsk_…")
    prefix = _PRIVATE if secret.startswith(_PRIVATE) else _SHARED
    try:
        key = base64.b64decode(secret.removeprefix(prefix), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(_REMEDY) from error
    if not secret.startswith(prefix) or len(key) not in ((_SEED, _PAIR) if prefix == _PRIVATE else _BYTES):
        raise ValueError(_REMEDY)
    return key


def _checked(secret: SecretStr) -> SecretStr:
    _decoded(secret.get_secret_value())
    return secret


SigningSecret = Annotated[SecretStr, AfterValidator(_checked), Secret(of_signing_secret)]


class Sign(Options):
    """Signs every request according to Standard Webhooks, in the `webhook-signature` header: with a secret that the
    receiver shares (HMAC-SHA256), or with a private key to which the receiver has the public one (Ed25519; needs
    `pip install 'mess[ed25519]'`)."""

    secret: SigningSecret | Annotated[tuple[SigningSecret, ...], Field(min_length=1)]
    """The secret shared with the receiver: `whsec_` and the base64 of 24 to 64 random bytes. Or an Ed25519 private key:
    `whsk_` and the base64 of its 32 bytes, or of these followed by the 32 of the public key. While you rotate a secret,
    give a list with the new one first: each one signs, and a receiver accepts any that it knows."""

    def signer(self) -> Signer:
        """The signer for these secrets.

        Raises ConfigError if a private key does not fit its public one, or if a package that it needs is not installed.
        """
        secrets = self.secret if isinstance(self.secret, tuple) else (self.secret,)
        return Signer([secret.get_secret_value() for secret in secrets])


class Signer:
    """Signs with each of these secrets. `public_keys` are those of the private keys among them, as `whpk_…`."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self.public_keys: list[str] = []
        self._signs = [self._sign_with(secret) for secret in secrets]

    def __call__(self, identity: str, timestamp: str, body: bytes) -> str:
        """The value of `webhook-signature`, given a request's id, its timestamp (seconds since 1970), and the exact
        bytes of its body."""
        content = b"%b.%b.%b" % (identity.encode(), timestamp.encode(), body)
        return " ".join([sign(content) for sign in self._signs])

    def _sign_with(self, secret: str) -> Callable[[bytes], str]:
        key = _decoded(secret)
        if not secret.startswith(_PRIVATE):
            return lambda content: f"v1,{_base64(hmac.digest(key, content, 'sha256'))}"
        with required("ed25519", "a private key, whsk_…,", "sign.secret"):
            from nacl.signing import SigningKey
        private = SigningKey(key[:_SEED])
        public = bytes(private.verify_key)
        if key[_SEED:] not in (b"", public):
            raise ConfigError([Problem("the second half of a private key is not its public key", "sign.secret")])
        self.public_keys.append(_PUBLIC + _base64(public))
        return lambda content: f"v1a,{_base64(private.sign(content).signature)}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
