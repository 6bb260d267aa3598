"""Optional dependencies: which extra to install for what."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mess.errors import ConfigError, Problem


@contextmanager
def required(extra: str, what: str, path: str) -> Iterator[None]:
    """Import optional packages inside this. Raises ConfigError at the option `path` if one is not installed: `what`
    requires the extra."""
    try:
        yield
    except ImportError as error:
        raise ConfigError([Problem(f"{what} requires: pip install 'mess[{extra}]'", path)]) from error
