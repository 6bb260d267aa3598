"""What the environment and the command line say, which goes before the file."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path as FilePath
from typing import Any

from mess.config.document import Document
from mess.errors import ConfigError, Problem
from mess.files import read_bounded

_OPTIONS = {
    "mongodb.url": ("MONGODB_URL", "MONGO_URL"),
    "admin.port": ("PORT",),
    "admin.host": ("MESS_ADMIN_HOST",),
    "log.level": ("MESS_LOG_LEVEL",),
    "log.format": ("MESS_LOG_FORMAT",),
}
"""The option that each variable sets; of several, the first that is set counts."""
_MAX_BYTES = 1024 * 1024
_ANY_CASE = frozenset({"log.level", "log.format"})


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment, on top of what `.env` in the working directory says.

    Raises ConfigError when there is a `.env` that cannot be read.
    """
    dotenv = FilePath(".env")
    if not dotenv.is_file():
        return dict(environ)
    from dotenv import dotenv_values

    try:
        text = read_bounded(dotenv, _MAX_BYTES).decode("utf-8-sig")
        values = dotenv_values(stream=StringIO(text), interpolate=False)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise ConfigError([Problem(f"cannot be read: {reason}", file=str(dotenv))]) from error
    return {**{name: value for name, value in values.items() if value is not None}, **environ}


def override(document: Document, environ: Mapping[str, str], overrides: Mapping[str, Any]) -> None:
    """Put what the environment sets into a document's data, and what the command line sets on top of that.

    `overrides` are options by dotted name; None stands for one that was not given.
    """
    for option, variables in _OPTIONS.items():
        # An empty variable is one that a compose file handed on although nobody had set it.
        name = next((name for name in variables if environ.get(name)), None)
        if name is not None:
            value = environ[name].lower() if option in _ANY_CASE else environ[name]
            _put(document, option, value, f"environment variable {name}")
    for option, value in overrides.items():
        if value is not None:
            _put(document, option, value, "command line")


def _put(document: Document, option: str, value: Any, origin: str) -> None:
    *parents, last = path = tuple(option.split("."))
    target = document.data
    for part in parents:
        if target.get(part) is None:
            target[part] = {}
        target = target[part]
        if not isinstance(target, dict):
            return  # which is a mistake of its own
    target[last] = value
    document.origins[path] = origin
    document.secret.add(path)
