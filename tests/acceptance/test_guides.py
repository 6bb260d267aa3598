"""What the guides tell a reader to save and to type."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.commands import command, environment

ROOT = Path(__file__).parents[2]


def validate(config: Path) -> subprocess.CompletedProcess[str]:
    arguments = command("validate", "--config", config)
    return subprocess.run(
        arguments, cwd=config.parent, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("guide", ["README.md", "docs/getting-started.md"])
def test_guides_never_tell_to_overwrite_a_file_of_the_repository(guide: str) -> None:
    """What a reader saves is a file of their own: config/config.yml is what the Compose file runs with."""
    saved = re.findall(r"[Ss]ave (?:it|this) as `([^`]+)`", (ROOT / guide).read_text())
    assert saved
    assert [path for path in saved if (ROOT / path).exists()] == []


@pytest.mark.parametrize("guide", ["README.md", "docs/getting-started.md"])
def test_the_first_config_of_a_guide_is_valid(guide: str, tmp_path: Path) -> None:
    """It can be saved as the guide says, and `mess validate` accepts it without a warning."""
    text = (ROOT / guide).read_text()
    block = re.search(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    name = re.search(r"[Ss]ave (?:it|this) as `([^`]+\.yml)`", text)
    assert block
    assert name
    config = tmp_path / name[1]
    config.write_text(block[1])
    done = validate(config)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stdout + done.stderr


@pytest.mark.parametrize("guide", ["README.md", "docs/getting-started.md", "docs/docker.md"])
def test_commands_of_the_guides_exist(guide: str) -> None:
    """Each `mess …` line has a command and options that `mess` knows."""
    lines = re.findall(r"^    (?:docker .* )?mess ([a-z-]+(?: .*)?)$", (ROOT / guide).read_text(), re.MULTILINE)
    helps: dict[str, str] = {}
    for line in lines:
        words = line.split("#")[0].split()
        name = " ".join(word for word in words[:2] if re.fullmatch(r"[a-z-]+", word) and not word.startswith("-"))
        if name not in helps:
            done = subprocess.run(
                command(*name.split(), "--help"), env=environment(), capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, line
            helps[name] = done.stdout
        for option in re.findall(r"--[a-z-]+", line.split("#")[0]):
            assert option in helps[name], line
    assert lines or guide == "README.md"
