"""Config files and secrets that are no files, have no end, or hold too much: one clear mistake, soon."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from mess.config.load import load
from mess.errors import ConfigError
from tests.unit.config.conftest import Problems

BASE = "databases: {a: }\npipeline: [log]\n"


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null"])
def test_a_device_is_no_config_file(path: str) -> None:
    with pytest.raises(ConfigError, match=rf"^{path}: cannot be read: it is not a regular file$"):
        load(path, environ={})


@pytest.mark.parametrize("name", ["large.yml", "large.json", "large.js"])
def test_a_config_file_has_a_largest_size(name: str) -> None:
    Path(name).write_bytes(b" " * (4 * 1024 * 1024 + 1))
    with pytest.raises(ConfigError, match=rf"^{name}: cannot be read: it is larger than 4 MiB$"):
        load(name, environ={})


def test_a_sparse_file_is_not_read(problems: Problems) -> None:
    """Gigabytes of nothing take no memory."""
    with open("huge", "wb") as file:
        file.truncate(1 << 40)
    assert problems(BASE + "name: ${file:huge}") == [
        "config.yml:3: name: the file huge cannot be read: it is larger than 1 MiB"
    ]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/dev/zero", "it is not a regular file"),
        (".", "Is a directory"),
        ("none", "No such file or directory"),
    ],
)
def test_a_secret_that_is_no_file_is_a_mistake(problems: Problems, path: str, reason: str) -> None:
    assert problems(f"{BASE}name: ${{file:{path}}}") == [
        f"config.yml:3: name: the file {path} cannot be read: {reason}"
    ]


def test_a_secret_in_a_pipe_that_nobody_writes_to_is_a_mistake(
    problems: Problems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mess.files._PIPE_SECONDS", 0.1)
    os.mkfifo("pipe")
    [problem] = problems(BASE + "name: ${file:pipe}")
    assert problem.endswith("the file pipe cannot be read: the pipe did not end within 0.1 seconds")


def test_a_dotenv_file_has_a_largest_size(problems: Problems) -> None:
    Path(".env").write_bytes(b"A=" + b"a" * 1024 * 1024)
    assert problems(BASE) == [".env: cannot be read: it is larger than 1 MiB"]


def test_secrets_that_are_repeated_have_a_largest_size_together(problems: Problems) -> None:
    """A file of a megabyte, named a hundred times."""
    Path("large").write_text("a" * 1_000_000)
    found = problems(BASE + "plugins:\n" + "".join(f"  p{n}: x${{file:large}}\n" for n in range(100)))
    assert any("the variables' values make the config larger than 32 MiB" in problem for problem in found)


LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        pytest.param("c.yml", BASE + LAUGHS, "aliases (*name) may repeat too much", id="billion laughs"),
        pytest.param("c.yml", BASE + "x:\n" + "- a\n" * 500_000, "more than 100,000 values", id="long YAML list"),
        pytest.param("c.yml", BASE + "x: " + "[" * 100_000, "nested more than 64 levels deep", id="deep YAML"),
        pytest.param("c.yml", BASE + "name: '" + "${A:-" * 100_000 + "'", "nested too deeply", id="deep variables"),
        pytest.param("c.yml", BASE + "name: 1:" + "59:" * 100_000 + "1", "is too large", id="base 60"),
        pytest.param("c.yml", BASE + "name: " + "9" * 500_000, "is too large", id="huge YAML number"),
        pytest.param("c.json", '{"x":[' + "1," * 500_000 + "1]}", "more than 200,000 tokens", id="long JSON list"),
        pytest.param("c.json", '{"x":' + "[" * 50_000 + "]" * 50_000 + "}", "64 levels deep", id="deep JSON"),
        pytest.param("c.json", '{"x":' + "{'a':" * 20_000 + "1" + "}" * 20_000 + "}", "64 levels deep", id="deep keys"),
        pytest.param("c.json", '{"x":' + "9" * 500_000 + "}", "x: this is JavaScript code", id="huge JSON number"),
        pytest.param("c.js", "foo()\n" * 20_000, "this is JavaScript code", id="many statements"),
    ],
)
def test_a_config_that_holds_too_much_is_told_soon(problems: Problems, name: str, text: str, problem: str) -> None:
    began = time.process_time()
    found = problems(text, name)
    assert time.process_time() - began < 5
    assert any(problem in each for each in found), found[:3]
    assert len(found) <= 101


def test_a_large_config_is_read_fast(problems: Problems) -> None:
    """Of 10,000 collections, in JSON too: what is read takes time in proportion to its size."""
    text = '{"databases":{"a":{"collections":{' + ",".join(f'"c{n}":{{"order":"none"}}' for n in range(10_000))
    began = time.process_time()
    assert len(load(_written("c.json", text + '}}},"pipeline":["log"]}'), environ={}).config.databases["a"].collections)
    assert time.process_time() - began < 8


def _written(name: str, text: str) -> Path:
    Path(name).write_text(text)
    return Path(name)
