"""Prometheus's own judge of metrics and rules."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from tests.servers.process import ServerMissing


class PromtoolMissing(ServerMissing):
    """There is no promtool on PATH: apt install prometheus, or make services."""


def promtool(*words: str | Path, text: str = "") -> None:
    """Run promtool, with `text` on its standard input. Raises AssertionError with what it finds wrong, and
    PromtoolMissing."""
    program = shutil.which("promtool")
    if program is None:
        raise PromtoolMissing(PromtoolMissing.__doc__)
    done = subprocess.run([program, *map(str, words)], input=text, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
