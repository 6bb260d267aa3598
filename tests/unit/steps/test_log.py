"""What the log step writes of an event: the event as it is, up to a bound, and nothing takes it long."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from bson import Int64, ObjectId

from mess.steps.base import Context
from mess.steps.log import LogConfig
from mess.telemetry.logging import configure
from mess.telemetry.redact import learn
from tests.unit.fakes import make_event


@pytest.fixture(params=["json", "console"])
def form(request: pytest.FixtureRequest) -> str:
    """How the log is written."""
    return str(request.param)


def logged(capsys: pytest.CaptureFixture[str], form: str = "json", body: Any = None, **options: Any) -> str:
    """The line that the step writes of an event with this body."""
    configure("info", form)
    event = make_event()
    event.body = body
    assert LogConfig.model_validate(options).build(Context()).apply(event) is event
    assert event.body is body
    return capsys.readouterr().out


def test_the_body_is_written_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """BSON's types included."""
    moment = datetime(2026, 7, 1, tzinfo=timezone.utc)
    body = {"a": Int64(2**60), "id": ObjectId("65f0c0ffee65f0c0ffee65f0"), "at": moment, "text": 'é"\n', "none": None}
    line = json.loads(logged(capsys, body=body))
    assert line["logger"] == "mess.log"
    assert line["event"] == "event"
    assert line["operation"] == "insert"
    assert line["body"] == {
        "a": 2**60,
        "id": "65f0c0ffee65f0c0ffee65f0",
        "at": "2026-07-01T00:00:00.000Z",
        "text": 'é"\n',
        "none": None,
    }


def test_a_document_commands_no_terminal(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """Control characters in it are escaped, in names and values; other text stays readable."""
    unsafe = "\x1b\x9b\x7f\u202e\u2028"
    body = {f"a{unsafe}": f"é ☃{unsafe}"}
    for fields in (None, [f"a{unsafe}"]):
        line = logged(capsys, form, body, fields=fields)
        assert not [character for character in unsafe if character in line]
        assert "é ☃" in line
        if form == "json":
            assert json.loads(line)["fields" if fields else "body"] == body


def test_an_event_is_never_redacted(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """Whatever it holds: it is the user's, and belongs to the log because the user has asked for it."""
    learn("s3cret-of-mine", "shop.orders", "insert")
    body = {"text": "s3cret-of-mine at mongodb://me:password@host"}
    for fields in (None, ["text"]):
        line = logged(capsys, form, body, fields=fields)
        assert "s3cret-of-mine at mongodb://me:password@host" in line
        assert "***" not in line


def test_only_the_fields_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """Those that are there."""
    line = json.loads(logged(capsys, body={"a": {"b": 1}, "c": None, 'd"': 2}, fields=["a.b", "c", 'd"', "e"]))
    assert line["fields"] == {"a.b": 1, "c": None, 'd"': 2}
    assert "body" not in line


def test_a_long_body_is_cut(capsys: pytest.CaptureFixture[str], form: str) -> None:
    """After `max_bytes` bytes, as a text with a note of how long it was; one that is just as long is whole."""
    line = logged(capsys, form, {"text": "é" * 50_000})
    assert "(cut: 100,011 bytes)" in line
    assert 64 * 1024 < len(line.encode()) < 66 * 1024
    fits = {"text": "x" * 20}
    assert "cut" not in logged(capsys, form, fits, max_bytes=31)
    assert "(cut: 31 bytes)" in logged(capsys, form, fits, max_bytes=30)
    cut = json.loads(logged(capsys, "json", {"a": "xxxxxxxxxx", "b": 1}, fields=["a", "b"], max_bytes=5))
    assert cut["fields"] == {"a": '"xxxx… (cut: 12 bytes)', "b": 1}


@pytest.mark.parametrize(
    "text",
    [
        "https://x/" + "?password" * 2222,
        "https://x/" + "0123456789abcdef" * 3750,
        "https://x/" + "?password" * 200_000,
        "://" * 500_000,
        "mongodb://" * 200_000,
        "whsec_" * 200_000,
        "a@" * 500_000,
        "&amp;%41" * 200_000,
    ],
    ids=lambda text: f"{text[:24]}, {len(text):,}",
)
@pytest.mark.parametrize("bound", ["64KiB", "1GB"])
def test_no_text_takes_long(capsys: pytest.CaptureFixture[str], form: str, text: str, bound: str) -> None:
    """Each of these held up a relay for minutes, and again after each restart. Here each takes less than a second."""
    learn("s3cret-of-mine", "/hooks/of-mine")
    began = datetime.now(timezone.utc)
    assert text[:1000] in logged(capsys, form, {"text": text}, max_bytes=bound)
    assert (datetime.now(timezone.utc) - began).total_seconds() < 20
