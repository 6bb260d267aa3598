"""What the command line writes by itself, whatever happens."""

from __future__ import annotations

import subprocess
import sys

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
