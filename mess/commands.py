"""Commands as the user has to type them, for messages that suggest one."""

from __future__ import annotations

import re
import shlex
from pathlib import Path


class _Given:
    """What the command line specified: a config file, or None, and whether it set another MongoDB than the config's."""

    config: Path | None = None
    url: bool = False


def set_given(config: Path | None, *, url: bool = False) -> None:
    """Remember the config file that this process uses, and whether a connection string was given."""
    _Given.config = None if config is None else config.absolute()
    _Given.url = url


def command(text: str) -> str:
    """`mess` with these arguments and with this process's config, without which the command would act on another relay.

    A connection string may contain a password, so a placeholder stands for it that no command accepts.
    """
    config = "" if _Given.config is None else f" --config {shlex.quote(str(_Given.config))}"
    return f"mess {text}{config}{' --url URL' if _Given.url else ''}"


def quoted(name: str) -> str:
    """A name quoted for a shell; a collection's name can contain anything."""
    return f'"{name}"' if re.fullmatch(r"[\w.,*() @-]+", name) else shlex.quote(name)
