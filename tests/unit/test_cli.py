"""What the command line writes by itself, whatever happens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

FAULT = """
import logging
from mess import cli
from mess.telemetry.redact import learn
learn("s3cret-of-mine")
def fault():
    logging.getLogger("mess.state").warning("a driver says s3cret-of-mine")
    raise {kind}("nobody foresaw s3cret-of-mine")
cli.app = fault
cli.main()
"""


def test_a_fault_of_messs_own_shows_no_secret() -> None:
    """Neither in its traceback, nor in what libraries logged before; the exit code is 1."""
    done = subprocess.run(
        [sys.executable, "-c", FAULT.format(kind="KeyError")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "a driver says ***" in done.stderr
    assert "KeyError: 'nobody foresaw ***'" in done.stderr
    assert "s3cret" not in done.stderr + done.stdout


NEW = """
from mess.cli.common import say
from mess.cli.root import app
@app.command()
def hello() -> None:
    say("hello")
"""
FOUND = """
import sys
from pathlib import Path
from mess import cli
cli.__path__.append(sys.argv.pop(1))
cli.import_modules(cli.__name__, cli.__path__)
cli.main()
"""


def test_a_new_file_is_a_new_command(tmp_path: Path) -> None:
    """Nothing else names it."""
    (tmp_path / "hello.py").write_text(NEW)
    done = subprocess.run(
        [sys.executable, "-c", FOUND, str(tmp_path), "hello"], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("hello\n", "")


def test_the_command_line_starts_without_what_only_some_commands_need() -> None:
    """`mess --help` and the shell's completion answer at once."""
    code = "import sys, mess.cli; print(*sorted({'aiohttp', 'pydantic', 'pymongo', 'yaml'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("\n", "")
