from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mess.config.load import Loaded, load
from mess.errors import ConfigError

Problems = Callable[..., list[str]]
Load = Callable[..., Loaded]


@pytest.fixture(autouse=True)
def _own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test has an empty working directory, and leaves no module of its own imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


@pytest.fixture
def loads(tmp_path: Path) -> Load:
    """Writes a config file beside the test and loads it."""

    def loads(text: str, name: str = "config.yml", environ: dict[str, str] | None = None, **options: Any) -> Loaded:
        Path(name).write_text(text, encoding="utf-8")
        return load(name, environ=environ or {}, **options)

    return loads


@pytest.fixture
def problems(loads: Load) -> Problems:
    """What loading such a file reports, line by line."""

    def problems(
        text: str, name: str = "config.yml", environ: dict[str, str] | None = None, **options: Any
    ) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            loads(text, name, environ, **options)
        return [str(problem) for problem in caught.value.problems]

    return problems
