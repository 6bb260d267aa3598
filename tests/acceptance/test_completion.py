"""Shell completion: `mess --install-completion`, and what the shells then ask `mess`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MESS = Path(sys.executable).parent / "mess"


def run(*arguments: str | Path, home: Path, **variables: str) -> str:
    environment = {"PATH": f"{MESS.parent}:/usr/bin:/bin", "HOME": str(home), **variables}
    done = subprocess.run([*arguments], env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    """In a bash that has read what `--install-completion` wrote, Tab offers commands, their commands and options."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    run("bash", "-c", "mess --install-completion; true", home=tmp_path)
    assert (tmp_path / ".bashrc").exists()
    ask = (
        'source ~/.bashrc; COMP_WORDS=(mess "$@"); COMP_CWORD=$#; '
        'function="$(complete -p mess | sed "s/.*-F //; s/ .*//")"; "$function" mess; echo "${COMPREPLY[@]}"'
    )
    for typed, offered in {
        ("ch",): {"check", "checkpoints"},
        ("dead-letters", "rep"): {"replay"},
        ("run", "--log"): {"--log-level", "--log-format"},
    }.items():
        assert set(run("bash", "-c", ask, "bash", *typed, home=tmp_path).split()) == offered


@pytest.mark.parametrize(
    ("shell", "variables"),
    [
        ("bash", {"COMP_WORDS": "mess val", "COMP_CWORD": "1"}),
        ("zsh", {"_TYPER_COMPLETE_ARGS": "mess val"}),
        ("fish", {"_TYPER_COMPLETE_ARGS": "mess val", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}),
    ],
)
def test_each_shell_is_answered(tmp_path: Path, shell: str, variables: dict[str, str]) -> None:
    """There is a script for it, and the call that the script makes is answered with the command that fits."""
    script = run(MESS, home=tmp_path, _MESS_COMPLETE=f"source_{shell}")
    assert f"complete_{shell}" in script
    offered = run(MESS, home=tmp_path, _MESS_COMPLETE=f"complete_{shell}", **variables)
    assert "validate" in offered
    assert "checkpoints" not in offered


def test_completion_does_not_load_the_relay(tmp_path: Path) -> None:
    """Tab must answer at once: neither the relay nor its clients are imported."""
    program = (
        "import sys, atexit\n"
        "heavy = ('aiohttp', 'pymongo', 'yaml', 'mess.app', 'mess.relay', 'mess.config.model')\n"
        "atexit.register(lambda: print('loaded', [name for name in heavy if name in sys.modules]))\n"
        "sys.argv = ['mess']\n"
        "from mess.cli import main\n"
        "main()"
    )
    environment = {**os.environ, "_MESS_COMPLETE": "complete_bash", "COMP_WORDS": "mess ch", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert "checkpoints" in done.stdout
    assert "loaded []" in done.stdout
