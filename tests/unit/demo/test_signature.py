"""The receiver's check agrees with the Standard Webhooks library."""

from __future__ import annotations

import time

import pytest
from multidict import CIMultiDict

from mess.demo.signature import check, new_secret
from mess.steps.http.signing import Signer
from tests.unit.demo.webhooks import signed

_BODY = '{"name":"Chloé"}'.encode()


def _check(secret: str, headers: dict[str, str], body: bytes = _BODY, now: float | None = None) -> str:
    return check(secret, CIMultiDict(headers), body, now=time.time() if now is None else now).result


def test_what_the_library_and_mess_sign_is_valid() -> None:
    """Also beside another signature, while a secret is rotated; header names in any case."""
    secret = new_secret()
    headers = signed(secret, "msg_1", _BODY)
    assert _check(secret, headers) == "valid"
    assert _check(secret, {name.title(): value for name, value in headers.items()}) == "valid"
    both = Signer([new_secret(), secret])("msg_1", headers["webhook-timestamp"], _BODY)
    assert _check(secret, {**headers, "webhook-signature": both}) == "valid"


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_2"},
        {"webhook-timestamp": "1"},
        {"webhook-timestamp": "9" * 5000},
        {"webhook-timestamp": "now"},
        {"webhook-timestamp": "٣"},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,AAAA v1a,AAAA é"},
        {"webhook-signature": "v1,\udcff"},
    ],
)
def test_another_id_time_or_signature_is_invalid(change: dict[str, str]) -> None:
    secret = new_secret()
    assert _check(secret, {**signed(secret, "msg_1", _BODY), **change}) == "invalid"


def test_another_body_or_secret_is_invalid() -> None:
    secret = new_secret()
    headers = signed(secret, "msg_1", _BODY)
    assert _check(secret, headers, _BODY + b" ") == "invalid"
    assert _check(new_secret(), headers) == "invalid"


@pytest.mark.parametrize(("seconds", "result"), [(290, "valid"), (-290, "valid"), (310, "invalid"), (-310, "invalid")])
def test_an_old_webhook_is_not_valid_again(seconds: float, result: str) -> None:
    """Five minutes from the receiver's clock, either way."""
    secret = new_secret()
    assert _check(secret, signed(secret, "msg_1", _BODY), now=time.time() + seconds) == result


def test_without_a_signature_it_is_unsigned() -> None:
    headers = signed(secret := new_secret(), "msg_1", _BODY)
    del headers["webhook-signature"]
    assert _check(secret, headers) == "unsigned"
