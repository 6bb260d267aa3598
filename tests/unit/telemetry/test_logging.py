"""What the relay's log looks like, from processes of their own: logging is configured once for all."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

import pytest

PRELUDE = """
import logging, sys, warnings
from mess.telemetry.logging import configure, get_logger
log = get_logger("mess.test")
def fail():
    raise ValueError("cannot reach mongodb://u:p@h")
"""


def run(program: str, level: str = "info", format: str = "json") -> str:  # noqa: A002
    """What a program writes that logs at `level` and in `format`."""
    code = f"{PRELUDE}configure({level!r}, {format!r})\n{program}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=30)
    assert done.stderr == b""
    return done.stdout.decode()


def lines(program: str, level: str = "info", format: str = "json") -> list[dict[str, Any]]:  # noqa: A002
    """The JSON lines that a program logs."""
    return [json.loads(line) for line in run(program, level, format).splitlines()]


def test_a_line() -> None:
    """Time in UTC, level, message and logger, and the fields as given."""
    (line,) = lines("log.info('stream connected', stream='shop', lag=1.5)")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z", line.pop("timestamp"))
    expected = {"level": "info", "event": "stream connected", "logger": "mess.test", "stream": "shop", "lag": 1.5}
    assert line == expected


@pytest.mark.parametrize(("level", "shown"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_levels(level: str, shown: int) -> None:
    """What is less severe is not written."""
    program = "log.debug('a'); log.info('b'); log.warning('c'); log.error('d')"
    assert [line["event"] for line in lines(program, level)] == list("abcd")[-shown:]


def test_a_terminal_is_not_commanded() -> None:
    """Text from outside neither clears a screen nor begins a line of its own, in messages, fields and errors."""
    hostile = r"\x1b[2J\x9b31m\u202e\nforged"
    written = run(
        f"log.info('{hostile}', a='{hostile}', error=ValueError('{hostile}'), b=['{hostile}'])", format="console"
    )
    assert len(written.splitlines()) == 1
    assert not [character for character in "\x1b\x9b\u202e" if character in written]
    assert written.count("forged") == 4


UNSAFE = "\x1b\x9b\x7f\u202e\u2028\ufeff\U000e0061"


@pytest.mark.parametrize("text", [UNSAFE + "é\n☃", "\x7f"], ids=["all", "ASCII"])
def test_a_terminal_that_shows_json_lines_is_not_commanded(text: str) -> None:
    """Nor does text from outside change its order or break lines, in messages, fields and errors; and the JSON still
    means the same."""
    written = run(f"text = {text!a}\nlog.info(text, a=text, error=ValueError(text), b=[{{text: text}}])")
    line = json.loads(written)
    assert (line["event"], line["a"], line["b"]) == (text, text, [{text: text}])
    assert text in line["error"]
    assert len(written.splitlines()) == 1
    assert not [character for character in UNSAFE if character in written]
    assert ("☃" in written) == ("☃" in text)


def test_secrets_are_hidden() -> None:
    """In messages, fields, errors, tracebacks, and what libraries say."""
    written = run(
        "log.info('mongodb://u:p@h', url='mongodb://u:p@h', deep={'a': ['mongodb://u:p@h']})\n"
        "logging.getLogger('pymongo').warning('at %s', 'mongodb://u:p@h')\n"
        "try: fail()\n"
        "except ValueError as error: log.error('a', error=error); log.exception('b')"
    )
    assert written.count("mongodb://***@h") >= 7  # Python 3.13 shows the lines of a program given by -c, too
    assert "u:p" not in written


EXPECTED = "try: fail()\nexcept ValueError as error: log.error('failed', {how})"


@pytest.mark.parametrize("how", ["error=error", "exc_info=error"])
def test_expected_errors_are_one_field(how: str) -> None:
    """Their class and message; the traceback only at level debug."""
    (line,) = lines(EXPECTED.format(how=how))
    assert line["error"] == "ValueError: cannot reach mongodb://***@h"
    assert "exception" not in line
    (line,) = lines(EXPECTED.format(how=how), level="debug")
    assert line["error"] == "ValueError: cannot reach mongodb://***@h"
    assert line["exception"].startswith("Traceback")


def test_unexpected_errors_show_where_they_come_from() -> None:
    """With log.exception, and from libraries."""
    caught = "try: fail()\nexcept ValueError: {}"
    for call in ("log.exception('failed')", "logging.getLogger('asyncio').error('failed', exc_info=True)"):
        (line,) = lines(caught.format(call))
        assert line["error"] == "ValueError: cannot reach mongodb://***@h"
        assert "in fail" in line["exception"]
        console = run(caught.format(call), format="console")
        assert "in fail" in console


def test_libraries() -> None:
    """From level warning on, and Python's warnings; in the same form, under their own names."""
    program = """
logging.getLogger("aiohttp.client").info("hidden")
logging.getLogger("pymongo.topology").warning("lost %s", "primary")
logging.getLogger("broken").error("%d", "text")
warnings.warn("old")
configure("info", "json")
logging.getLogger("asyncio").error("once")
"""
    code = f"{PRELUDE}configure('info', 'json')\n{program}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=30)
    written = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["logger"], line["level"]) for line in written] == [
        ("pymongo.topology", "warning"),
        ("py.warnings", "warning"),
        ("asyncio", "error"),
    ]
    assert written[0]["event"] == "lost primary"
    assert b"--- Logging error ---" in done.stderr


def test_what_ends_a_thread_is_logged() -> None:
    """Python would write it to standard error, secrets and all."""
    program = "import threading\nthread = threading.Thread(target=fail, name='mine')\nthread.start()\nthread.join()"
    (line,) = lines(program)
    assert line["event"] == "thread ended by an error"
    assert line["thread"] == "mine"
    assert line["error"] == "ValueError: cannot reach mongodb://***@h"
    assert "in fail" in line["exception"]


def test_long_fields_are_cut() -> None:
    """After `max_field` bytes, with a note of how long they were, whether they are text, an error or a list."""
    program = (
        "log.info('x' * 20_000, text='é' * 9000, error=ValueError('y' * 9000), items=['z' * 100] * 200, short=['a'])\n"
        "configure('info', 'json', max_field=300)\n"
        "get_logger('mess.new').info('x' * 301)"
    )
    line, other = lines(program)
    assert line["event"] == "x" * 16_384 + "… (cut: 20,000 characters)"
    assert line["text"] == "é" * 8192 + "… (cut: 9,000 characters)"
    assert line["error"].startswith("ValueError: yyy")
    assert line["error"].endswith("y… (cut: 9,000 characters)")
    assert line["items"].startswith('["zzz')
    assert line["items"].endswith("… (cut: 20,800 characters)")
    assert line["short"] == ["a"]
    assert other["event"] == "x" * 300 + "… (cut: 301 characters)"


def test_a_long_text_is_redacted_before_it_is_cut() -> None:
    """A secret across the cut leaves nothing of itself."""
    program = (
        "from mess.telemetry.redact import learn; learn('s3cret-of-mine')\nlog.info('x' * 16_380 + 's3cret-of-mine')"
    )
    assert "s3cr" not in run(program)


def test_values_that_json_does_not_know() -> None:
    """A line is never lost for what is in it."""
    (line,) = lines("log.info('odd', big=2**70, half='\\ud800', data=b'x', things={1, 2}, map={1: object})")
    assert line["big"] == 2**70
    assert line["data"] == "b'x'"
    assert sorted(line["things"]) == [1, 2]
    assert line["map"] == {"1": "<class 'object'>"}
    assert "odd" in run("log.info('odd', half='\\ud800')", format="console")


def test_the_console_is_for_people() -> None:
    """Plain text; without colours where it is not a terminal."""
    written = run("log.warning('stream lost', stream='shop')", format="console")
    assert re.fullmatch(r"\S+Z \[warning  \] stream lost +\[mess.test\] stream=shop\n", written)


def test_auto_is_json_where_it_is_no_terminal() -> None:
    """As in a container."""
    assert lines("log.info('a')", format="auto")[0]["event"] == "a"


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="this system has no pseudo-terminals")
def test_auto_is_the_console_on_a_terminal() -> None:
    """With colours."""
    master, slave = os.openpty()
    subprocess.run(
        [sys.executable, "-c", f"{PRELUDE}configure()\nlog.info('hello')"], stdout=slave, check=True, timeout=30
    )
    written = os.read(master, 10_000).decode()
    os.close(master)
    os.close(slave)
    assert "hello" in written
    assert "\x1b[" in written


@pytest.mark.parametrize("format", ["json", "console"])
def test_a_reader_that_goes_away(format: str) -> None:  # noqa: A002
    """The relay goes on and ends as it would have, without a word about the pipe."""
    program = "for i in range(50_000): log.info('line', i=i)\nsys.stderr.write('went on')"
    code = f"{PRELUDE}configure('info', {format!r})\n{program}"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stderr is not None
    assert b"line" in process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b"went on"
    process.stderr.close()
    assert process.wait(30) == 0


def test_many_threads_write_whole_lines() -> None:
    """One after the other."""
    program = """
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(8) as pool:
    list(pool.map(lambda i: log.info("line", i=i, text="x" * 5000), range(400)))
"""
    assert sorted(line["i"] for line in lines(program)) == list(range(400))


def test_without_standard_output() -> None:
    """As under pythonw, or a service manager that closes it."""
    run("sys.stdout = None\nlog.info('a')")
    run("sys.stdout.close()\nlog.info('a')")
    run("import io; sys.stdout = io.StringIO()\nlog.info('a')\nassert 'event' in sys.stdout.getvalue()")


def test_standard_error() -> None:
    """For commands that have something to say on standard output."""
    code = f"{PRELUDE}configure('info', 'json', to='stderr')\nlog.info('a')\nwarnings.warn('b')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=30)
    assert done.stdout == b""
    assert [json.loads(line)["level"] for line in done.stderr.splitlines()] == ["info", "warning"]


def test_what_stands_in_for_a_stream_gets_the_lines() -> None:
    """Though it has the stream's own buffer, as what keeps lines above a progress bar has."""
    program = (
        "class Above:\n"
        "    def __init__(self, file): self.file = file\n"
        "    def __getattr__(self, name): return getattr(self.file, name)\n"
        "    def write(self, text): self.file.write('above ' + text)\n"
        "sys.stdout = Above(sys.stdout)\n"
        "log.info('a')"
    )
    assert run(program).startswith("above {")
