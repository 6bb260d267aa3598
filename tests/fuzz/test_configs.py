"""Whatever stands in a config file: it works, or every mistake is told with its place; no secret is ever shown."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import bson
import pytest
import yaml
from hypothesis import given

from mess.app import Relay
from mess.capture.plan import plan
from mess.cli.validate import validate
from mess.config.effective import effective
from mess.config.load import Loaded, load
from mess.config.outline import outline
from mess.errors import ConfigError
from mess.relay.build import build_all
from mess.telemetry.redact import redact
from tests.fuzz.config_options import SECRET, VARIABLE_SECRET, VARIABLES
from tests.fuzz.config_texts import ROOT, as_javascript, mutated, sources
from tests.fuzz.config_trees import config_trees
from tests.fuzz.profiles import examples

_BESIDE = {
    "my_plugins.py": (ROOT / "config/examples/my_plugins.py").read_text() + "\n\nNUMBER = 1\n",
    "broken.py": "def f(:\n",
    "exits.py": "raise SystemExit(1)\n",
    "ca.pem": "no certificate\n",
    "client.pem": "-----BEGIN CERTIFICATE-----\nPRIVATE KEY-----\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of one's own, with the files that the configs name; it is the working directory too."""
    for name, text in _BESIDE.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for name in ("MESS_CONFIG", "MONGODB_URL", "MONGO_URL", "PORT", "MESS_ADMIN_HOST", "MESS_LOG_LEVEL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", None)):
            del sys.modules[name]


def holds_its_promises(folder: Path, name: str, content: bytes) -> None:
    """Load it, build it, plan it, and say what there is to say of it."""
    path = folder / name
    path.write_bytes(content)
    lines = len(content.decode("utf-8", "replace").splitlines()) + 1
    try:
        loaded = load(path)
        _, problems = build_all(loaded)
        plans = plan(loaded.config)
        for stream in plans:
            bson.encode({"pipeline": stream.stages()})  # or MongoDB could never be asked for it
    except ConfigError as error:
        _are_told_well(error, path, lines)
        return
    if SECRET in repr(plans):
        return  # some lines have got into a query, which is shown
    shown = [repr(loaded), str(loaded), repr(plans), *map(str, loaded.warnings)]
    if problems:
        _are_told_well(ConfigError(problems), path, lines)
    else:
        shown += [*map(str, Relay(loaded).describe_pipelines().values()), _validated(path)]
    shown.append(_effective(loaded, lines))
    _show_no_secret(shown)


def _are_told_well(error: ConfigError, path: Path, lines: int) -> None:
    assert error.problems
    for problem in error.problems:
        assert problem.message
        assert problem.file in (str(path), "environment variable URL"), problem
        assert problem.line is None or 1 <= problem.line <= lines, problem
    _show_no_secret(map(str, error.problems), (SECRET, VARIABLE_SECRET))


def _effective(loaded: Loaded, lines: int) -> str:
    """What `mess config show --all` shows, which is YAML, with every value's line."""
    values = effective(loaded)
    assert len({value.keys for value in values}) == len(values)
    assert all(value.source != "file" or 1 <= (value.line or 0) <= lines for value in values)
    text = "\n".join(line for line, _ in outline(values))
    yaml.safe_load(text)
    return text


def _validated(path: Path) -> str:
    out = io.StringIO()
    with redirect_stdout(out):
        validate(path)
    assert "valid:" in out.getvalue()
    return out.getvalue()


def _show_no_secret(texts: Iterable[str], secrets: Sequence[str] = (SECRET,)) -> None:
    for text in texts:
        assert not any(secret in redact(text) for secret in secrets), text


@examples(150)
@given(config_trees())
def test_a_tree_of_known_options_in_yaml(folder: Path, tree: dict[str, Any]) -> None:
    holds_its_promises(folder, "config.yml", yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "replace"))


@examples(100)
@given(config_trees())
def test_a_tree_of_known_options_in_json_and_javascript(folder: Path, tree: dict[str, Any]) -> None:
    holds_its_promises(folder, "config.json", json.dumps(tree).encode())
    holds_its_promises(folder, "config.js", f"module.exports = {as_javascript(tree)}".encode("utf-8", "replace"))


@examples(150)
@given(mutated(sources(".yml", ".yaml")))
def test_a_real_yaml_file_with_something_wrong(folder: Path, content: bytes) -> None:
    holds_its_promises(folder, "config.yml", content)


@examples(150)
@given(mutated(sources(".js", ".json")))
def test_a_real_javascript_or_json_file_with_something_wrong(folder: Path, content: bytes) -> None:
    holds_its_promises(folder, "config.js", content)
