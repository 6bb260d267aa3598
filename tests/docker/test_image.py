"""The image: what is in it, and what its entry point prepares."""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.compose import docker

ROOT = Path(__file__).parents[2]
RIGHTS = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")


def write_wheel(folder: Path, package: str, version: str, content: str) -> None:
    """A wheel with one module, so that tests need no package index."""
    info = f"{package}-{version}.dist-info"
    files = {
        f"{package}.py": content,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    lines = []
    with zipfile.ZipFile(folder / f"{package}-{version}-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            lines.append(f"{name},sha256={digest},{len(text)}")
        wheel.writestr(f"{info}/RECORD", "\n".join([*lines, f"{info}/RECORD,,", ""]))


@pytest.fixture
def options(tmp_path: Path) -> Iterator[list[str]]:
    """Options of `docker run`: few rights, a volume for plugins, and two packages in place of an index."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    write_wheel(wheels, "acme_plugin", "1.0", "VALUE = 'acme'\n")
    write_wheel(wheels, "pymongo", "3.13.0", "VALUE = 'not the one that MESS was tested with'\n")
    volume = f"mess-test-plugins-{tmp_path.name}"
    found = [*RIGHTS, "--volume", f"{volume}:/app/plugins", "--volume", f"{wheels}:/wheels:ro"]
    yield [*found, "--env", "PIP_NO_INDEX=1", "--env", "PIP_FIND_LINKS=/wheels"]
    docker("volume", "rm", "--force", volume)


def test_the_image_holds_what_the_lock_names(image: str) -> None:
    """Nothing else, and in the locked versions."""
    frozen = docker("run", "--rm", "--entrypoint", "cat", image, "/opt/mess/constraints.txt").stdout
    lock = (ROOT / "requirements/image.txt").read_text()
    versions = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", lock, re.MULTILINE))
    installed = {
        re.sub(r"[-_.]+", "-", name).lower(): version
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==(\S+)$", frozen, re.MULTILINE)
    }
    assert {"aiohttp", "pymongo", "redis", "pika"} <= installed.keys()
    assert installed.items() <= versions.items()


def test_commands_run_without_rights(image: str) -> None:
    """`docker run mess validate`, on a read-only file system."""
    config = f"{ROOT / 'config'}:/app/config:ro"
    done = docker("run", "--rm", *RIGHTS, "--volume", config, image, "validate")
    assert "valid" in done.stdout
    assert docker("run", "--rm", *RIGHTS, image, "--version").stdout.startswith("mess ")


def test_a_preload_script_runs_before_the_start(image: str) -> None:
    """With the relay's own rights; if it fails, the container does not start."""
    script = "id -u; echo prepared > /tmp/prepared && cat /tmp/prepared"
    done = docker("run", "--rm", *RIGHTS, "--env", f"PRELOAD_SCRIPT={script}", image, "--version")
    assert done.stdout.split()[:3] == ["10001", "prepared", "mess"]
    failed = docker("run", "--rm", "--env", "PRELOAD_SCRIPT=exit 3", image, "--version", check=False)
    assert failed.returncode == 1
    assert "PRELOAD_SCRIPT failed with status 3" in failed.stderr


def test_plugins_are_installed_once_into_their_volume(image: str, options: list[str]) -> None:
    """On a read-only file system. The relay can import them, and the next start installs nothing."""
    preload = "python -c 'import acme_plugin, mess; print(acme_plugin.VALUE)'"
    options += ["--env", "MESS_PLUGINS=acme-plugin==1.0", "--env", f"PRELOAD_SCRIPT={preload}"]
    first = docker("run", "--rm", *options, image, "--version")
    assert first.stdout.splitlines()[0] == "acme"
    assert "installing plugins" in first.stderr
    second = docker("run", "--rm", *options, image, "--version")
    assert second.stdout.splitlines()[0] == "acme"
    assert "installing plugins" not in second.stderr
    unknown = docker("run", "--rm", *options, "--env", "MESS_PLUGINS=no-such-plugin", image, "--version", check=False)
    assert unknown.returncode == 1
    assert "MESS_PLUGINS could not be installed" in unknown.stderr


def test_plugins_cannot_replace_what_mess_is_built_with(image: str, options: list[str]) -> None:
    """A plugin that needs another version of one of MESS's packages is refused: the lock's versions hold."""
    options += ["--env", "MESS_PLUGINS=acme-plugin pymongo==3.13.0"]
    done = docker("run", "--rm", *options, image, "--version", check=False)
    assert done.returncode == 1
    assert "MESS_PLUGINS could not be installed" in done.stderr
    without = docker("run", "--rm", *options, "--env", "MESS_CONSTRAINTS=/dev/null", image, "--version", check=False)
    assert without.returncode == 0, "the constraints are what refuses it"
