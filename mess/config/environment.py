"""Overrides from the environment and the command line, which take precedence over the file."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path as FilePath
from typing import Any

from mess.config.document import Document, Origin
from mess.errors import ConfigError, Problem
from mess.files import read_bounded

_OPTIONS = {
    "mongodb.url": ("MONGODB_URL", "MONGO_URL"),
    "admin.port": ("PORT",),
    "admin.host": ("MESS_ADMIN_HOST",),
    "admin.token": ("MESS_ADMIN_TOKEN",),
    "log.level": ("MESS_LOG_LEVEL",),
    "log.format": ("MESS_LOG_FORMAT",),
}
"""The option that each variable sets. If several variables set an option, the first one that is set wins."""
DOTENV = FilePath(".env")
"""Where further variables may be, in the working directory."""
_MAX_BYTES = 1024 * 1024
_ANY_CASE = frozenset({"log.level", "log.format"})


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment merged over `.env` in the working directory.

    Raises ConfigError if `.env` exists but cannot be read.
    """
    if not DOTENV.is_file():
        return dict(environ)
    from dotenv import dotenv_values

    try:
        text = read_bounded(DOTENV, _MAX_BYTES).decode("utf-8-sig")
        values = dotenv_values(stream=StringIO(text), interpolate=False)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise ConfigError([Problem(f"cannot be read: {reason}", file=str(DOTENV))]) from error
    return {**{name: value for name, value in values.items() if value is not None}, **environ}


def override(document: Document, environ: Mapping[str, str], overrides: Mapping[str, Any]) -> None:
    """Apply the environment's settings to a document's data, then the command line's.

    `overrides` maps dotted option names to values; None means that the option was not given. An empty group of options
    only adds the group where there is none.
    """
    for option, variables in _OPTIONS.items():
        # An empty variable is usually one that a compose file passes on although nobody set it.
        name = next((name for name in variables if environ.get(name)), None)
        if name is not None:
            value = environ[name].lower() if option in _ANY_CASE else environ[name]
            _put(document, option, value, Origin(name))
    for option, value in overrides.items():
        if value is not None:
            _put(document, option, value, Origin(None))


def _put(document: Document, option: str, value: Any, origin: Origin) -> None:
    *parents, last = path = tuple(option.split("."))
    target = document.data
    for part in parents:
        if target.get(part) is None:
            target[part] = {}
        target = target[part]
        if not isinstance(target, dict):
            return  # reported elsewhere
    if value == {} and target.get(last) is not None:
        return
    target[last] = value
    document.origins[path] = origin
    document.secret.add(path)
