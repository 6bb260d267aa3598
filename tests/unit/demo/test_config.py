"""The config file of the demo's relay, and commands that use it."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from mess.config.load import load
from mess.demo.config import command, write_config
from mess.demo.deployment import Deployment
from mess.demo.signature import new_secret

_OWN = Deployment(url="mongodb://127.0.0.1:1/?replicaSet=rs0", database="test-db", state=None, about="")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MONGODB_URL", "MONGO_URL"):
        monkeypatch.delenv(name, raising=False)


def _users(folder: Path, user: str = "") -> Deployment:
    return Deployment(
        url=f"mongodb://{user}db1.example.com/?replicaSet=rs0",
        database="mess-demo-1",
        state=f"sqlite:///{folder / 'state.db'}",
        about="",
    )


def test_the_file_is_all_that_a_command_needs(tmp_path: Path) -> None:
    """It is valid, with the secret in a file of its own that only its owner can read."""
    secret = new_secret()
    path = write_config(tmp_path, _OWN, endpoint="http://127.0.0.1:2/webhook", secret=secret, admin_port=3)
    assert load(path, environ={}).config.mongodb.url == _OWN.url
    assert secret not in path.read_text()
    assert (tmp_path / "webhook-secret").stat().st_mode & 0o077 == 0


def test_the_users_password_is_in_no_file_and_no_command(tmp_path: Path) -> None:
    """The state is beside the file, and not in the user's deployment."""
    where = _users(tmp_path, "me:hunter2@")
    path = write_config(tmp_path, where, endpoint="http://127.0.0.1:2/webhook", secret=new_secret(), admin_port=3)
    assert "hunter2" not in path.read_text()
    assert str(load(path, environ={"MONGODB_URL": where.url}).config.state.url) == where.state
    assert command("status", path, where).endswith(f"status --config {path} --url URL")


@pytest.mark.parametrize("given", ["variable", ".env", "neither"])
def test_a_command_reaches_the_demo_whatever_the_environment_says(
    given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment would take precedence over the file."""
    if given == "variable":
        monkeypatch.setenv("MONGODB_URL", "mongodb://elsewhere")
    elif given == ".env":
        (tmp_path / ".env").write_text("MONGODB_URL=mongodb://elsewhere")
    words = shlex.split(command("dead-letters replay --all", Path("/tmp/a b/c.yml"), _OWN))
    expected = ["dead-letters", "replay", "--all", "--config", "/tmp/a b/c.yml"]
    assert words[-len(expected) :] == expected if given == "neither" else words[-2:] == ["--url", _OWN.url]


@pytest.mark.parametrize("on_path", [True, False])
def test_a_command_names_a_program_that_exists(on_path: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`mess` where a shell finds it, and otherwise the path by which it was started."""
    program = tmp_path / "mess"
    program.touch(mode=0o755)
    monkeypatch.setattr("sys.argv", [str(program)])
    monkeypatch.setenv("PATH", str(tmp_path) if on_path else os.defpath)
    assert command("status", Path("c"), _OWN).split()[0] == ("mess" if on_path else str(program))
