"""Commands as the user has to type them, in messages that tell what to do."""

from __future__ import annotations

import re
import shlex
from pathlib import Path


class _Config:
    """The config file that was named on the command line; None for the one that every command takes by default."""

    path: Path | None = None


def set_config(path: Path | None) -> None:
    """Remember the config file that this process was told to use."""
    _Config.path = None if path is None else path.absolute()


def command(text: str) -> str:
    """`mess` with these arguments, and with the config that this process uses: without that, the command would act on
    another relay."""
    config = "" if _Config.path is None else f" --config {shlex.quote(str(_Config.path))}"
    return f"mess {text}{config}"


def quoted(name: str) -> str:
    """A name for a shell: it may be that of a collection, which can hold anything."""
    return f'"{name}"' if re.fullmatch(r"[\w.,*() @-]+", name) else shlex.quote(name)
