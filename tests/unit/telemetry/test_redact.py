"""Which secrets are hidden, however they are written, and what is left alone."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable
from datetime import datetime, timezone
from itertools import combinations
from urllib.parse import quote, quote_plus

import pytest
from bson import ObjectId
from hypothesis import given
from hypothesis import strategies as st

from mess.telemetry.redact import Redactor, beginning, compact, learn, redact, redacted, shown

SECRET = "pä$$/wo<rd&'\"+ 'x\\y"
TOKEN = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEF"


def _lower(text: str) -> str:
    return re.sub(r"%[0-9A-F]{2}|\\u[0-9A-F]{4}", lambda found: found[0].lower(), text)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "url": quote,
    "url, all of it": lambda text: quote(text, safe=""),
    "url, lower case": lambda text: _lower(quote(text, safe="")),
    "form": quote_plus,
    "url, every letter": lambda text: "".join(f"%{byte:02X}" for byte in text.encode()),
    "HTML": html.escape,
    "HTML, by number": lambda text: "".join(f"&#{ord(one)};" for one in text),
    "HTML, by hexadecimal number": lambda text: "".join(f"&#x{ord(one):X};" for one in text),
    "HTML, by number, without semicolons": lambda text: "".join(f"&#{ord(one)}" for one in text),
    "HTML, by names": lambda text: html.escape(text).replace("/", "&sol;").replace("+", "&plus;"),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "PHP's JSON": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "Go's JSON": lambda text: json.dumps(text)[1:-1].replace("<", "\\u003c").replace("&", "\\u0026"),
    "JSON, upper case": lambda text: "".join(f"\\u{ord(one):04X}" for one in text),
    "Python": lambda text: repr(text)[1:-1],
    "Python's bytes": lambda text: repr(text.encode())[2:-1],
    "octal": lambda text: "".join(chr(one) if chr(one).isalnum() else f"\\{one:03o}" for one in text.encode()),
    "old JavaScript": lambda text: "".join(f"%u{ord(one):04x}" for one in text),
    "JavaScript, by number": lambda text: "".join(f"\\u{{{ord(one):x}}}" for one in text),
    "folded": lambda text: "\r\n ".join(text[at : at + 5] for at in range(0, len(text), 5)),
    "folded in JSON": lambda text: json.dumps("\n".join(text[at : at + 5] for at in range(0, len(text), 5)))[1:-1],
    "Latin-1": lambda text: text.encode("latin-1").decode("utf-8", "replace"),
    "UTF-8 read as Latin-1": lambda text: text.encode().decode("latin-1"),
    "ASCII": lambda text: text.encode("ascii", "replace").decode(),
}


@pytest.mark.parametrize("secret", [SECRET, TOKEN])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_secret_is_hidden_however_it_is_written(secret: str, spelling: str) -> None:
    """As servers of all kinds repeat it; what stands around it is shown."""
    text = f"before ({SPELLINGS[spelling](secret)}) after"
    assert Redactor([secret])(text) == "before (***) after"


@pytest.mark.parametrize(
    ("inner", "outer"),
    list(combinations(("url, lower case", "HTML", "JSON", "Go's JSON", "Python's bytes", "form"), 2)),
)
def test_spellings_within_spellings_are_understood(inner: str, outer: str) -> None:
    """HTML in JSON, and the like."""
    text = SPELLINGS[outer](SPELLINGS[inner](SECRET))
    assert Redactor([SECRET])(f"a {text} b") == "a *** b"


@pytest.mark.parametrize("secret", ["first-line\nsecond-line\n", "first-line\r\n second-line"])
def test_a_secret_of_several_lines_is_hidden_however_it_is_folded(secret: str) -> None:
    """A key in a file, and the like."""
    for text in (secret, secret.strip(), secret.replace("\r", ""), json.dumps(secret)[1:-1], "first-linesecond-line"):
        assert Redactor([secret])(f"a\nb {text}c\nd").replace("***\n", "***") in ("a\nb ***c\nd", "a\nb ***\\nc\nd")


def test_base64_that_is_folded_is_searched() -> None:
    """Mail has it in lines of 76 characters."""
    text = base64.encodebytes(b"authorization: " + b"x" * 35 + TOKEN.encode() + b"x" * 60).decode()
    shown = Redactor([TOKEN])(text)
    assert "***" in shown
    assert len(shown) <= len(text) - 4 * len(TOKEN) // 3 + len("***") + 2  # characters that depend on their neighbours


def test_a_secret_that_looks_escaped_is_hidden_both_ways() -> None:
    """A path of a URL is written escaped in the config; servers show it either way."""
    hide = Redactor(["/hook/a%2Fb%20c"])
    for text in ("/hook/a%2Fb%20c", "/hook/a/b c", "%2Fhook%2Fa%252Fb%2520c", "/hook/a%2fb+c"):
        assert hide(f"POST {text}!") == "POST ***!"


@given(st.data())
def test_no_secret_is_left_in_any_text(data: st.DataObject) -> None:
    """Secrets of any characters, one within another or overlapping, anywhere in any text."""
    characters = st.text("aab%2f\\u&#;é/\x00 ", max_size=30)
    secrets = data.draw(st.lists(st.text("ab%2\\&;é", min_size=6, max_size=24), min_size=1, max_size=4))
    text = data.draw(characters).join(data.draw(st.permutations(secrets))) + data.draw(characters)
    clean = Redactor(secrets)(text)
    assert not any(secret in clean for secret in secrets)


@pytest.mark.parametrize("length", range(6, len(TOKEN)))
def test_the_beginning_of_a_secret_at_the_end_of_a_text_is_hidden(length: int) -> None:
    """Someone else may have cut the text: a driver, or the read of an answer."""
    for end in ("", "…", "...", '"', "' "):
        assert Redactor([TOKEN])(f"token {TOKEN[:length]}{end}") == f"token ***{end}"


def test_what_a_server_has_cut_in_the_middle_is_hidden() -> None:
    """Redis cuts each argument that it repeats."""
    text = f"unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'me' '{TOKEN[:30]}' "
    assert Redactor([TOKEN])(text) == "unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'me' '***' "


@pytest.mark.parametrize("spelling", ["url, every letter", "JSON, upper case", "HTML, by hexadecimal number"])
def test_the_beginning_of_a_secret_whose_escape_is_cut_is_hidden(spelling: str) -> None:
    """Whoever cuts a text does not care for its escapes."""
    whole = SPELLINGS[spelling](TOKEN)
    each = len(whole) // len(TOKEN)
    for cut in range(6 * each, 16 * each):
        for end in ("", "…", " [truncated]"):
            clean = Redactor([TOKEN])(f"token {whole[:cut]}{end}")
            assert clean.replace("\\", "") == f"token ***{end}"


@pytest.mark.parametrize("cut", ["%C3", "%u00", "\\u{6", "\\05", "\\xc3", "\\", "\ufffd", "&", "&#x", "%26%2", "\\u00"])
def test_what_is_left_of_a_letter_hides_no_secret_before_it(cut: str) -> None:
    """Half a letter, half an escape, and one within the other."""
    assert Redactor(["passwörd<>"])(f"it was passw\\u00f6{cut}") == "it was ***"


@pytest.mark.parametrize(
    "note",
    ["[truncated]", " [truncated]", "<br/>", "</p></body></html>", "(cut)", "… 300 more", "...more", "... (300 B)"],
)
def test_a_note_that_a_text_has_been_cut_hides_no_secret_before_it(note: str) -> None:
    """Every beginning of six characters is hidden."""
    for length in range(6, 16):
        assert Redactor([TOKEN])(f"token {TOKEN[:length]}{note}") == f"token ***{note}"


@pytest.mark.parametrize("secret", [SECRET, TOKEN, "h0rse9", "h0rse9x", "h0rse9xy", "a?>~?>~?>?"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_secret_within_base64_is_hidden(secret: str, encode: Callable[[bytes], bytes]) -> None:
    """An endpoint may repeat a whole request so. What remains gives no more than the characters at the secret's ends,
    of which some bits depend on what stands around it."""
    for before in range(4):
        for after in range(4):
            text = encode(b"b" * before + secret.encode() + b"a" * after).decode()
            shown = Redactor([secret])(f"it said {text}!").removeprefix("it said ").removesuffix("!")
            head, _, tail = shown.partition("***")
            assert "***" in shown
            assert len(head) <= (8 * before + 9) // 6
            assert len(tail.rstrip("=")) <= (8 * after + 9) // 6


def test_overlapping_secrets_are_hidden_as_one() -> None:
    """No part of either is left."""
    assert Redactor(["abcdefgh", "efghijkl"])("x abcdefghijkl y") == "x *** y"
    assert Redactor(["abcdef", "abcdefghij"])("x abcdefghij y abcdef z") == "x *** y *** z"


def test_values_under_six_characters_are_not_searched_for() -> None:
    """They would be found in words that have nothing to do with them; `mess validate` warns."""
    hide = Redactor(["guest", "", "sixsix"])
    assert hide("guests are welcome, sixsix") == "guests are welcome, ***"


def test_many_secrets_are_found_in_short_and_long_texts() -> None:
    """A relay may have thousands of endpoints."""
    hide = Redactor(f"{number * 7919 % 10_007:05}-tenant-secret" for number in range(5000))
    assert hide("it said 07919-tenant-secret") == "it said ***"
    assert hide("x" * 5000 + " 07919-tenant-secret") == "x" * 5000 + " ***"


def test_what_is_forgotten_is_shown_again_unless_it_is_secret_twice() -> None:
    """A token that has expired; the same text as a password stays hidden."""
    hide = Redactor(["token-one"])
    hide.learn("token-one", "token-two")
    hide.forget("token-one", "token-two", "token-never-learnt")
    assert hide("token-one token-two") == "*** token-two"


@pytest.mark.parametrize(
    ("text", "clean"),
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
    ],
)
def test_users_and_passwords_in_any_url_are_hidden(text: str, clean: str) -> None:
    """Also in URLs that are not the config's; hiding twice changes nothing."""
    assert redact(text) == clean
    assert redact(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "mongodb://localhost:27017/?replicaSet=rs0",
        "https://example.com/path?mail=a@b.example",
        "https://example.com:8080/path/a@b",
        "http://[::1]:3000/",
        "https://example.com:8080?mail=a@b.example",
        "write to someone@example.com",
        "100 % of A&B; C:\\new\\x &c.",
        "sqlite:///mess.db",
        "",
    ],
)
def test_what_is_no_secret_is_shown(text: str) -> None:
    """Ports, mail addresses, options, and what only looks like an escape."""
    learn(SECRET, TOKEN)
    assert redact(text) == text


def test_everything_in_a_value_is_redacted() -> None:
    """At any depth, in keys and in what only becomes text when it is written."""
    learn("hidden-1")
    value = {
        "list": ["hidden-1", ("hidden-1", {"hidden-1"})],
        "hidden-1": 1,
        "error": ValueError("no hidden-1"),
        "id": ObjectId("65f0c0ffee65f0c0ffee65f0"),
        "bytes": b"hidden-1",
        "time": datetime(2026, 7, 1, tzinfo=timezone.utc),
        "numbers": [1, 1.5, True, None],
    }
    assert redacted(value) == {
        "list": ["***", ["***", ["***"]]],
        "***": 1,
        "error": "ValueError: no ***",
        "id": "65f0c0ffee65f0c0ffee65f0",
        "bytes": "b'***'",
        "time": "2026-07-01T00:00:00+00:00",
        "numbers": [1, 1.5, True, None],
    }


def test_a_long_text_is_cut_after_it_is_redacted_and_says_how_long_it_was() -> None:
    """A secret across the cut leaves no part of itself."""
    learn(TOKEN)
    for filling in range(60, 110):
        cut = shown("x" * filling + TOKEN + "y" * 20_000, 100)
        assert cut.startswith("x" * min(filling, 100))
        assert not re.search("[a-w]", cut.partition("… (cut")[0].replace("***", "").replace("x", ""))
        assert cut.endswith(f"… (cut: {filling + len(TOKEN) + 20_000:,} characters)")
        assert TOKEN[:3] not in beginning("x" * filling + TOKEN + "y" * 20_000, 100)
    assert shown("é" * 60, 100) == "é" * 50 + "… (cut: 60 characters)"
    assert shown("é" * 50, 100) == "é" * 50
    assert shown(TOKEN * 10, 100) == "***"


def test_a_drivers_long_error_is_cut() -> None:
    """Its class is told."""
    assert compact(ValueError("x" * 5000)) == f"ValueError: {'x' * 2000}… (cut: 5,000 characters)"
    assert compact(ValueError()) == "ValueError"
