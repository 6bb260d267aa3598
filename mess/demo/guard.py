"""Ensures that processes do not outlive the one that started them, however it ends."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

# `read` returns when the last writer of the pipe is gone: at `release`, or with this process, even after SIGKILL.
# Linux's parent-death signal would not do: it is tied to the thread that started the process.
_SCRIPT = 'read -r line && exit; kill -9 "$0"; [ -z "$1" ] || rm -rf -- "$1"'


class Guard:
    """Kills a process, and removes a folder if one is given, as soon as this process ends before `release`."""

    def __init__(self, pid: int, folder: Path | None = None) -> None:
        self._shell: subprocess.Popen[bytes] | None = None
        if os.name == "posix":
            self._shell = subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT, str(pid), "" if folder is None else str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )

    def release(self) -> None:
        """Stop watching. Call it before the process is reaped, when its id may be reused."""
        if self._shell is not None:
            self._shell.communicate(b"\n")
            self._shell = None
