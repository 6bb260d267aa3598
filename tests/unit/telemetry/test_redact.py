"""Which secrets are hidden, and what is left alone."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from bson import ObjectId

from mess.telemetry.logging import redact, redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mongodb://user:pass@host:27017/db", "mongodb://***@host:27017/db"),
        ("mongodb+srv://user:p%40ss@cluster.example/?x=1", "mongodb+srv://***@cluster.example/?x=1"),
        ("mongodb://u:p@ss@h1,h2/db", "mongodb://***@h1,h2/db"),
        ("mongodb://u:p/a?s#s@h/db", "mongodb://***@h/db"),
        ("MONGODB://u:p@h", "MONGODB://***@h"),
        ("mongodb://user@host", "mongodb://***@host"),
        ("from mongodb://u:p@h to amqp://guest:guest@mq:5672/v.", "from mongodb://***@h to amqp://***@mq:5672/v."),
        ("redis://:secret@cache:6379/0", "redis://***@cache:6379/0"),
        (
            "'https://u:p@example.com/a', 'https://v:q@example.com/b'",
            "'https://***@example.com/a', 'https://***@example.com/b'",
        ),
        ("nats://u:p#1@h", "nats://***@h"),
        ("https://example.com/hook?token=abc&x=1", "https://example.com/hook?token=***&x=1"),
        ("https://example.com/hook?x=1&api_key=abc", "https://example.com/hook?x=1&api_key=***"),
        ("mongodb://h/?tlsCertificateKeyFilePassword=abc&w=1", "mongodb://h/?tlsCertificateKeyFilePassword=***&w=1"),
        ("key whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw== refused", "key whsec_*** refused"),
    ],
)
def test_secrets_are_hidden(text: str, shown: str) -> None:
    """Users, passwords, tokens; hiding twice changes nothing."""
    assert redact(text) == shown
    assert redact(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "mongodb://localhost:27017/?replicaSet=rs0",
        "https://example.com/path?mail=a@b.example",
        "https://example.com:8080/path/a@b",
        "http://[::1]:3000/",
        "https://example.com:8080?mail=a@b.example",
        "write to someone@example.com",
        "a token=abc that is in no url",
        "sqlite:///mess.db",
        "",
    ],
)
def test_what_is_no_secret_is_shown(text: str) -> None:
    """Ports, mail addresses, options."""
    assert redact(text) == text


def test_everything_in_a_value_is_redacted() -> None:
    """At any depth, in keys and in what only becomes text when it is written."""
    url = "amqp://u:p@h"
    value = {
        "list": [url, (url, {url})],
        url: 1,
        "error": ValueError(f"cannot reach {url}"),
        "id": ObjectId("65f0c0ffee65f0c0ffee65f0"),
        "bytes": url.encode(),
        "time": datetime(2026, 7, 1, tzinfo=timezone.utc),
        "numbers": [1, 1.5, True, None],
    }
    assert redacted(value) == {
        "list": ["amqp://***@h", ["amqp://***@h", ["amqp://***@h"]]],
        "amqp://***@h": 1,
        "error": "ValueError: cannot reach amqp://***@h",
        "id": "65f0c0ffee65f0c0ffee65f0",
        "bytes": "b'amqp://***@h'",
        "time": "2026-07-01T00:00:00+00:00",
        "numbers": [1, 1.5, True, None],
    }
