"""Finds and reads the config file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path as FilePath

from mess.config.document import Document, by_place
from mess.errors import ConfigError, Problem
from mess.files import read_bounded

DEFAULT = FilePath("config/config.yml")
"""The default config file, relative to the working directory."""
_ELSE = tuple(DEFAULT.with_suffix(suffix) for suffix in (".yaml", ".json", ".js"))
MAX_BYTES = 4 * 1024 * 1024
"""The largest config file."""
_JS = frozenset({".js", ".cjs", ".mjs", ".json", ".json5", ".jsonc"})
_MAKE_ONE = "run `mess init` to create one"


def find(path: FilePath | str | None, environ: Mapping[str, str]) -> FilePath:
    """Find the config file: the one given, else the one in MESS_CONFIG, else the default.

    Raises ConfigError if it falls back to the default and there is no such file.
    """
    named = path or environ.get("MESS_CONFIG")
    if named:
        return FilePath(named)
    for candidate in (DEFAULT, *_ELSE):
        if candidate.is_file():
            return candidate
    looked = ", ".join(candidate.name for candidate in _ELSE)
    message = f"there is no {DEFAULT}, nor {looked} beside it; {_MAKE_ONE}, or set MESS_CONFIG to another path"
    raise ConfigError([Problem(message)])


def read(path: FilePath) -> Document:
    """Read a config file; its mistakes are in the document. The suffix selects JSON or JS style, else YAML.

    Raises ConfigError if there is nothing usable in it.
    """
    document = Document(str(path))
    text = _text(path, document)
    if text is not None:
        if path.suffix.lower() in _JS:
            from mess.config.js.file import read_js

            read_js(text, document)
        else:
            from mess.config.yaml_file import read_yaml

            read_yaml(text, document)
        if document.data is None and not document.problems:
            document.report(f"is empty; {_MAKE_ONE}")
        elif document.data is not None and not isinstance(document.data, dict):
            document.report("must be a mapping at the top level, as in databases: {shop: {}}")
            document.data = None
    if document.data is None:
        raise ConfigError(sorted(document.problems, key=by_place))
    return document


def _text(path: FilePath, document: Document) -> str | None:
    try:
        content = read_bounded(path, MAX_BYTES)
    except FileNotFoundError:
        document.report(f"there is no such file; {_MAKE_ONE}")
        return None
    except IsADirectoryError:
        document.report("is a folder; give the path of the config file in it")
        return None
    except (OSError, ValueError) as error:
        document.report(f"cannot be read: {getattr(error, 'strerror', None) or error}")
        return None
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        document.report("is not text in UTF-8", line=content.count(b"\n", 0, error.start) + 1)
        return None
