"""Standard Webhooks signatures, verified by the library that receivers use."""

from __future__ import annotations

import base64
import time

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from mess.steps.http.signing import Sign


def secret(length: int = 32, first: int = 0) -> str:
    return "whsec_" + base64.b64encode(bytes(range(first, first + length))).decode()


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
