"""Text from outside, printed: nothing in it commands a terminal, or makes it show another text."""

from __future__ import annotations

import json

import pytest

from mess.telemetry.printable import printable, printable_json


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("orders", "orders"),
        ("naïve ☃ 日本 \N{FAMILY}", "naïve ☃ 日本 \N{FAMILY}"),
        ("non\N{NO-BREAK SPACE}breaking", "non\N{NO-BREAK SPACE}breaking"),
        ("\x1b[2J\x1b]0;owned\x07", "\\x1b[2J\\x1b]0;owned\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\r\nb\tc\0", "a\\r\\nb\\tc\\x00"),
        ("user\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe", "user\\u202egpj.exe"),
        ("\N{RIGHT-TO-LEFT ISOLATE}\N{LINE SEPARATOR}\N{ZERO WIDTH SPACE}", "\\u2067\\u2028\\u200b"),
        ("\N{TAG LATIN SMALL LETTER A}", "\\U000e0061"),
        ("\ud800", "\\ud800"),
        ("\x7f", "\\x7f"),
    ],
)
def test_control_characters_are_escaped_and_other_text_is_not(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_messages_of_several_lines_stay_so() -> None:
    assert printable("one\n\ttwo\r\x1b", lines=True) == "one\n\ttwo\\r\\x1b"


def test_json_means_the_same() -> None:
    value = {"a\x7f": "\x1b\x9b\N{RIGHT-TO-LEFT OVERRIDE}☃\N{TAG LATIN SMALL LETTER A}\n\t"}
    text = printable_json(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(text) == value
    assert "☃" in text
    assert not any(character in text for character in "\x1b\x9b\x7f\N{RIGHT-TO-LEFT OVERRIDE}")
