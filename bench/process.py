"""What a process has used, from Linux; and starting Python ones."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import orjson


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, all its threads, in seconds."""
    # The id of the process's CPU clock, see clock_getcpuclockid(3). /proc only has steps of 10 ms.
    return time.clock_gettime((~pid << 3) | 2)


def peak_mb(pid: int) -> float:
    """The most memory that a process has held (VmHWM), in MB of 10^6 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"process {pid} has ended")


def python(module: str, *arguments: str, output: int | IO[Any] = subprocess.PIPE) -> subprocess.Popen[bytes]:
    """Start a Python module as a process of its own."""
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=None)


def result(module: str, *arguments: str) -> dict[str, Any]:
    """Run a module to its end and return what it printed: one JSON object. Raises RuntimeError when it failed."""
    with python(module, *arguments) as process:
        output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{module} failed with exit code {process.returncode}")
    report: dict[str, Any] = orjson.loads(output)
    return report


def own_cpu_and_peak() -> dict[str, float]:
    """The calling process's own figures, for its report."""
    return {"cpu": cpu_seconds(os.getpid()), "peak_mb": peak_mb(os.getpid())}
