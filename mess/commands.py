"""Commands as the user has to type them, in messages that tell what to do."""

from __future__ import annotations

import re
import shlex
from pathlib import Path


class _Given:
    """What was named on the command line: a config file, else None, and whether another MongoDB than the config's."""

    config: Path | None = None
    url: bool = False


def set_given(config: Path | None, *, url: bool = False) -> None:
    """Remember the config file that this process was told to use, and whether it was told a connection string."""
    _Given.config = None if config is None else config.absolute()
    _Given.url = url


def command(text: str) -> str:
    """`mess` with these arguments, and with the config that this process uses: without that, the command would act on
    another relay. For a connection string, which may hold a password, stands a word that no command takes for one."""
    config = "" if _Given.config is None else f" --config {shlex.quote(str(_Given.config))}"
    return f"mess {text}{config}{' --url URL' if _Given.url else ''}"


def quoted(name: str) -> str:
    """A name for a shell: it may be that of a collection, which can hold anything."""
    return f'"{name}"' if re.fullmatch(r"[\w.,*() @-]+", name) else shlex.quote(name)
