"""Where mongod comes from, and what is said when there is none."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from mess.demo.mongod import Mongod, MongodMissing, find_mongod
from mess.errors import MessError


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without the `demo` extra, whose PATH is the folder this returns."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def _program(folder: Path, script: str) -> Path:
    path = folder / "mongod"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_without_the_extra_path_counts(without_extra: Path) -> None:
    """mongod on PATH serves as well."""
    path = _program(without_extra, "true")
    assert find_mongod() == path


def test_says_how_to_get_one(without_extra: Path) -> None:
    """Both ways out are named."""
    with pytest.raises(MongodMissing, match=r"mess\[demo\].*--url"):
        find_mongod()


def test_a_mongod_that_does_not_start_is_quoted(without_extra: Path) -> None:
    """Its own last words are in the error, and what helps if a library is missing. Nothing is left behind."""
    _program(without_extra, "echo libcurl.so.4 is missing >&2; exit 127")
    server = Mongod()
    with pytest.raises(MessError, match=r"exit code 127.*\n.*libcurl.so.4 is missing\n.*apt install libcurl4"), server:
        pass
    assert not server.folder.exists()


def test_a_mongod_that_cannot_be_executed_is_told(without_extra: Path) -> None:
    """As when it was built for another platform."""
    _program(without_extra, "")
    (without_extra / "mongod").write_bytes(b"\x7fELF not really")
    with pytest.raises(MessError, match="cannot be run here"), Mongod():
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands in for mongod")
def test_a_port_that_was_taken_meanwhile_is_no_failure(without_extra: Path) -> None:
    """Another free port is tried, five times in all."""
    _program(without_extra, f'echo "$1" >> {without_extra}/tried; exit 48')
    with pytest.raises(MessError, match="exit code 48"), Mongod():
        pass
    tried = (without_extra / "tried").read_text().split(os.linesep)
    assert len([line for line in tried if line.startswith("--port=")]) == 5
