"""Commands in messages, as they have to be typed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from mess.commands import command, quoted, set_given


@pytest.fixture(autouse=True)
def _no_config() -> Iterator[None]:
    set_given(None)  # other tests in this process run commands
    yield
    set_given(None)


def test_the_default_config_needs_no_word() -> None:
    assert command("gaps list") == "mess gaps list"


def test_a_config_that_was_named_is_named_again_by_its_whole_path() -> None:
    set_given(Path("my configs/other.yml"))
    typed = shlex.split(command("checkpoints reset --all"))
    assert typed == ["mess", "checkpoints", "reset", "--all", "--config", str(Path.cwd() / "my configs/other.yml")]


def test_where_another_mongodb_was_named_the_command_does_not_go_to_the_configs() -> None:
    """Its connection string may hold a password, so that a word stands for it with which the command fails."""
    set_given(Path("/c.yml"), url=True)
    assert command("checkpoints reset --all") == "mess checkpoints reset --all --config /c.yml --url URL"


@pytest.mark.parametrize("name", ["shop", "shop (catching up)", "*", 'a"b', "$(reboot)", "`x`", "it's", "a\nb"])
def test_a_shell_takes_a_quoted_name_for_what_it_is(name: str) -> None:
    assert shlex.split(f"mess --stream {quoted(name)}") == ["mess", "--stream", name]
