"""Standard Webhooks signatures: HMAC as verified by the library that receivers use, Ed25519 by another implementation
than the one that signs."""

from __future__ import annotations

import base64
import sys
import time
from collections.abc import Mapping

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from standardwebhooks import Webhook, WebhookVerificationError

from mess.errors import ConfigError
from mess.steps.http.signing import Sign


def secret(length: int = 32, first: int = 0) -> str:
    return "whsec_" + base64.b64encode(bytes(range(first, first + length))).decode()


def private_key(first: int = 0) -> str:
    return "whsk_" + base64.b64encode(bytes(range(first, first + 32))).decode()


def public_key(private: str) -> str:
    seed = base64.b64decode(private.removeprefix("whsk_"))[:32]
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    return "whpk_" + base64.b64encode(public).decode()


def verify(public: str, body: bytes, signed: Mapping[str, str]) -> None:
    """Verify as a receiver does that has a public key. Raises InvalidSignature."""
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    content = f"{signed['webhook-id']}.{signed['webhook-timestamp']}.".encode() + body
    for signature in signed["webhook-signature"].split():
        version, _, text = signature.partition(",")
        if version == "v1a":
            try:
                return key.verify(base64.b64decode(text), content)
            except InvalidSignature:
                continue
    raise InvalidSignature


def headers(sign: Sign, body: bytes, timestamp: float | None = None) -> dict[str, str]:
    moment = str(int(time.time() if timestamp is None else timestamp))
    return {
        "webhook-id": "msg_A",
        "webhook-timestamp": moment,
        "webhook-signature": sign.signer()("msg_A", moment, body),
    }


@pytest.mark.parametrize("length", [24, 32, 64])
def test_a_receiver_that_knows_the_secret_is_content(length: int) -> None:
    known = secret(length)
    body = '{"name":"naïve"}'.encode()
    assert Webhook(known).verify(body, headers(Sign.model_validate({"secret": known}), body)) == {"name": "naïve"}


def test_while_a_secret_is_replaced_receivers_with_either_are_content() -> None:
    old, new, other = secret(first=0), secret(first=1), secret(first=2)
    signed = headers(Sign.model_validate({"secret": [new, old]}), b"{}")
    assert [Webhook(known).verify(b"{}", signed) for known in (old, new)] == [{}, {}]
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify(b"{}", signed)


def test_a_changed_body_id_or_time_is_noticed() -> None:
    known = secret()
    signed = headers(Sign.model_validate({"secret": known}), b"{}")
    for body, changed in (
        (b"[]", signed),
        (b"{}", {**signed, "webhook-id": "msg_B"}),
        (b"{}", {**signed, "webhook-timestamp": str(int(signed["webhook-timestamp"]) + 1)}),
    ):
        with pytest.raises(WebhookVerificationError):
            Webhook(known).verify(body, changed)


@pytest.mark.parametrize("text", ["", "secret", "whsec_", "whsec_short", "whsec_%%%", secret(23), secret(65), "x" * 44])
def test_what_is_no_secret_is_told_with_the_mend_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="openssl rand -base64 32") as caught:
        Sign.model_validate({"secret": text})
    assert not text or len(text) < 8 or text not in str(caught.value.errors()[0]["msg"])  # type: ignore[attr-defined]


def test_an_empty_list_of_secrets_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="secret"):
        Sign.model_validate({"secret": []})


def test_a_secret_is_never_shown() -> None:
    known = secret()
    assert known not in repr(Sign.model_validate({"secret": known}))


# Ed25519


def test_a_receiver_that_has_the_public_key_is_content() -> None:
    """And one with another key, another body, id or time is not."""
    private, body = private_key(), '{"name":"naïve"}'.encode()
    sign = Sign.model_validate({"secret": private})
    signed = headers(sign, body)
    verify(public_key(private), body, signed)
    for public, received, changed in (
        (public_key(private_key(1)), body, signed),
        (public_key(private), b"{}", signed),
        (public_key(private), body, {**signed, "webhook-id": "msg_B"}),
        (public_key(private), body, {**signed, "webhook-timestamp": "1700000000"}),
    ):
        with pytest.raises(InvalidSignature):
            verify(public, received, changed)


def test_a_signature_as_rfc_8032_has_it() -> None:
    """Section 7.1, test 2, whose message is one byte: the same key gives the same public key."""
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    public = bytes.fromhex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c")
    sign = Sign.model_validate({"secret": "whsk_" + base64.b64encode(seed).decode()})
    assert sign.signer().public_keys == ["whpk_" + base64.b64encode(public).decode()]


def test_a_private_key_may_be_followed_by_its_public_key() -> None:
    """As libsodium and Standard Webhooks services write it."""
    short, public = private_key(), public_key(private_key())
    pair = base64.b64decode(short.removeprefix("whsk_")) + base64.b64decode(public.removeprefix("whpk_"))
    long = "whsk_" + base64.b64encode(pair).decode()
    assert headers(Sign.model_validate({"secret": long}), b"", 1) == headers(
        Sign.model_validate({"secret": short}), b"", 1
    )
    foreign = Sign.model_validate({"secret": "whsk_" + base64.b64encode(pair[:32] + pair[:32]).decode()})
    with pytest.raises(ConfigError, match=r"sign\.secret: the second half of a private key is not its public key"):
        foreign.signer()


def test_while_a_key_is_replaced_receivers_with_either_are_content() -> None:
    """Also where HMAC is replaced by Ed25519."""
    shared, old, new = secret(), private_key(1), private_key(2)
    sign = Sign.model_validate({"secret": [new, old, shared]})
    signed = headers(sign, b"{}")
    assert [each.partition(",")[0] for each in signed["webhook-signature"].split()] == ["v1a", "v1a", "v1"]
    assert sign.signer().public_keys == [public_key(new), public_key(old)]
    verify(public_key(old), b"{}", signed)
    verify(public_key(new), b"{}", signed)
    assert Webhook(shared).verify(b"{}", signed) == {}


@pytest.mark.parametrize("text", ["whsk_", "whsk_short", "whsk_%%%", private_key() + "AAAA", "whsk_" + secret(33)[6:]])
def test_what_is_no_private_key_is_told_with_the_mend_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match="whsk_ and the base64 of its 32 bytes") as caught:
        Sign.model_validate({"secret": text})
    assert len(text) < 12 or text not in str(caught.value.errors()[0]["msg"])  # type: ignore[attr-defined]


def test_a_public_key_is_told_apart() -> None:
    with pytest.raises(ValueError, match="a public key, for receivers"):
        Sign.model_validate({"secret": public_key(private_key())})


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shared secrets need no package."""
    monkeypatch.setitem(sys.modules, "nacl.signing", None)
    Sign.model_validate({"secret": secret()}).signer()
    with pytest.raises(ConfigError, match=r"sign\.secret: a private key, whsk_…, requires: pip install 'mess\[ed25519"):
        Sign.model_validate({"secret": private_key()}).signer()


def test_a_private_key_is_never_shown() -> None:
    private = private_key()
    sign = Sign.model_validate({"secret": private})
    assert private not in repr(sign)
    assert private not in repr(vars(sign.signer()))
