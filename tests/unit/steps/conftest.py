"""A folder for packages that tests install."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mess import registry
from mess.formats.envelope import FORMATS
from mess.options import sections
from mess.steps import STEPS
from mess.steps.queue.brokers import BROKERS


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for packages on `sys.path`; nothing of it stays imported or known."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    _forget(folder)
    yield folder
    _forget(folder)


def _forget(folder: Path) -> None:
    registry._points.cache_clear()
    sections._extended.cache_clear()
    for one in (STEPS, BROKERS, FORMATS):
        one._loaded.clear()
    for name, module in [*sys.modules.items()]:
        if str(getattr(module, "__file__", "")).startswith(str(folder)):
            del sys.modules[name]
