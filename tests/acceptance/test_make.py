"""What make and continuous integration do, and which packages they install."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
LOCKS = ("build", "demo", "dev", "image", "site", "tools")

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def text(path: str) -> str:
    return (ROOT / path).read_text()


def make(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    # As typed into a shell: the make that may be running these tests must not hand on its flags and ARGS.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("MAKE") and key != "ARGS"}
    return subprocess.run(["make", *arguments], cwd=cwd, env=environment, capture_output=True, text=True, timeout=60)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """As much of a fresh clone as make looks at."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


@needs_make
def test_make_alone_lists_its_targets() -> None:
    """`make` changes nothing, and tells every target in a line."""
    result = make()
    assert result.returncode == 0
    listed = re.findall(r"^  make ([a-z-]+) +\S", result.stdout, re.MULTILINE)
    assert listed[:3] == ["help", "demo", "test"]
    assert set(re.findall(r"^\.PHONY: (\S+)", text("Makefile"), re.MULTILINE)) == set(listed)


@needs_make
@pytest.mark.parametrize(
    ("target", "lock", "command"),
    [
        ("demo", "demo", "mess demo --seconds 20"),
        ("test", "dev", "-m pytest --numprocesses 4 --dist worksteal --seconds 20"),
        ("check", "dev", "mypy"),
        ("bench", "dev", "-m bench --seconds 20"),
    ],
)
def test_targets_work_as_the_first_command(clone: Path, target: str, lock: str, command: str) -> None:
    """In a fresh clone a target makes `.venv`, installs what its lock names and nothing else, and hands on ARGS."""
    planned = make("--dry-run", target, "ARGS=--seconds 20", "PYTHON=python3", cwd=clone).stdout
    installs = [line for line in planned.splitlines() if "-m pip install" in line]
    assert [line.partition("--disable-pip-version-check ")[2] for line in installs] == [
        f"--require-hashes --requirement requirements/{lock}.txt",
        "--no-deps --no-build-isolation --editable .",
    ]
    steps = [planned.find("-m venv"), planned.find(installs[0]), planned.find(installs[1]), planned.find(command)]
    assert -1 not in steps
    assert steps == sorted(steps)


@needs_make
def test_a_new_lock_is_installed(clone: Path) -> None:
    """What was installed before is brought up to date; with the same lock nothing is installed again."""
    for path in (".venv/bin/python", ".venv/.dev"):
        (clone / path).parent.mkdir(parents=True, exist_ok=True)
        (clone / path).touch()
    assert "pip install" not in make("--dry-run", "check", cwd=clone).stdout
    later = time.time() + 10
    os.utime(clone / "requirements/dev.txt", (later, later))
    assert "requirements/dev.txt" in make("--dry-run", "check", cwd=clone).stdout


@needs_make
def test_make_without_a_python_says_what_is_needed(clone: Path) -> None:
    """No suitable Python: one clear message, and no half-made virtual environment."""
    result = make("test", "PYTHON=", cwd=clone)
    assert result.returncode != 0
    assert "Python 3.11 or newer" in result.stderr
    assert not (clone / ".venv").exists()


def test_continuous_integration_runs_what_a_person_runs() -> None:
    """`.ci/run` is a program that parses, and calls the README's own commands with servers required."""
    script = ROOT / ".ci/run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", script], check=True)
    assert "MESS_REQUIRE_SERVERS=1" in script.read_text()
    for command in ("make test", "make check", "make site", "make sbom"):
        assert command in script.read_text()
    hooks = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    assert [source["repo"] for source in hooks] == ["local"]
    assert all(hook["entry"].startswith("make ") for hook in hooks[0]["hooks"])


# The locks


def locked(lock: str) -> dict[str, str]:
    """The version of each package."""
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+)", text(f"requirements/{lock}.txt"), re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_versions_and_hashes_and_no_package_index(lock: str) -> None:
    """Each package has one version and the hashes of its files; where it comes from is the user's own setting."""
    content = re.sub(r"\\\n\s*", "", text(f"requirements/{lock}.txt"))
    lines = [line for line in content.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert lines
    for line in lines:
        assert re.fullmatch(r"[a-z0-9-]+==\S+( ; [^@]+?)? *(--hash=sha256:[0-9a-f]{64} *)+", line), line[:100]
    assert "://" not in content


def test_the_locks_agree() -> None:
    """The image and the demo have what the tests ran with."""
    tested = locked("dev")
    for lock in ("demo", "image", "build"):
        assert locked(lock).items() <= tested.items(), lock


def test_the_locks_satisfy_pyproject() -> None:
    """A dependency that is added or raised in pyproject.toml is missing here until `make lock` has been run."""
    project = tomllib.loads(text("pyproject.toml"))["project"]
    extras = project["optional-dependencies"]
    image = [one for name in ("kafka", "mqtt", "nats", "oauth2", "rabbitmq", "redis") for one in extras[name]]
    wanted = {
        "dev": project["dependencies"] + [one for extra in extras.values() for one in extra],
        "demo": project["dependencies"] + extras["demo"],
        "image": project["dependencies"] + image,
    }
    for lock, requirements in wanted.items():
        versions = locked(lock)
        for requirement in map(Requirement, requirements):
            if requirement.name != "mess":
                name = re.sub(r"[-_.]+", "-", requirement.name).lower()
                assert name in versions, f"{requirement} is not in requirements/{lock}.txt: make lock"
                assert versions[name] in requirement.specifier, (
                    f"requirements/{lock}.txt has {versions[name]}: make lock"
                )


def test_the_tests_run_with_what_is_locked() -> None:
    """In continuous integration: what it has tested is what users get."""
    if "CI" not in os.environ:
        pytest.skip("only in continuous integration; elsewhere the newest versions may be meant (make test-latest)")
    done = subprocess.run([sys.executable, "-m", "pip", "freeze", "--all"], capture_output=True, text=True, check=True)
    installed = dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", done.stdout, re.MULTILINE))
    versions = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in installed.items()}
    expected = locked("dev")
    assert {name: version for name, version in versions.items() if name in expected} == {
        name: version for name, version in expected.items() if name in versions
    }
    assert {"aiohttp", "pymongo", "pydantic", "pyyaml", "pytest"} <= versions.keys()


# Base images


DIGEST = f"sha256:{'0123456789abcdef' * 4}"


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with a `docker` that can pull python:3.13-slim and mongo:8, unless `unreachable` exists."""
    (tmp_path / "docker").mkdir()
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / "docker/pin-images.sh", tmp_path / "docker")
    for name in ("Dockerfile", "docker-compose.yml"):
        unpinned = re.sub(r"@sha256:[0-9a-f]{64}", "", text(name))
        (tmp_path / name).write_text(unpinned)
    docker = tmp_path / "bin/docker"
    docker.write_text(
        f"#!/bin/sh\n[ -e {tmp_path}/unreachable ] && exit 1\nfor last; do :; done\n"
        f'[ "$1" = image ] && echo "${{last%:*}}@{DIGEST}"\nexit 0\n'
    )
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path


def pin(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([folder / "docker/pin-images.sh", *arguments], capture_output=True, text=True, check=False)


def test_base_images_can_be_pinned(images: Path) -> None:
    """By the digest that the registry has; again, when it has another one."""
    assert pin(images, "--check").returncode == 1
    for _ in range(2):
        assert pin(images).returncode == 0
        assert f"ARG PYTHON_IMAGE=python:3.13-slim@{DIGEST}\n" in (images / "Dockerfile").read_text()
        compose = yaml.safe_load((images / "docker-compose.yml").read_text())["services"]
        assert compose["mongo"]["image"] == f"${{MONGO_IMAGE:-mongo:8@{DIGEST}}}"
        assert compose["mess"]["build"]["args"]["PYTHON_IMAGE"] == f"${{PYTHON_IMAGE:-python:3.13-slim@{DIGEST}}}"
    assert pin(images, "--check").returncode == 0


def test_without_a_registry_nothing_is_pinned(images: Path) -> None:
    """It says so, and the files stay as they are."""
    (images / "unreachable").touch()
    before = (images / "Dockerfile").read_text()
    done = pin(images)
    assert done.returncode == 1
    assert "cannot be pulled, so that its digest is unknown; nothing is pinned" in done.stderr
    assert (images / "Dockerfile").read_text() == before


# Vulnerabilities


@pytest.mark.parametrize(
    ("answer", "status", "says"),
    [
        ({"name": "a", "version": "1", "vulns": []}, 0, "1 packages, no known vulnerability"),
        ({"name": "a", "version": "1", "vulns": [{"id": "X-1", "fix_versions": ["2"]}]}, 1, "a 1: X-1; fixed in 2"),
        ({"name": "a", "skip_reason": "not found"}, 3, "NOT AUDITED: 1 of 1 packages have no vulnerability data"),
        (None, 3, "NOT AUDITED: pip-audit could not look anything up: no such host"),
    ],
)
def test_an_audit_that_could_not_look_says_so(
    tmp_path: Path, answer: dict[str, object] | None, status: int, says: str
) -> None:
    """Packages without vulnerability data, or no connection, are a failure of their own and never pass for safe."""
    (tmp_path / "python").symlink_to(sys.executable)
    said = "no such host" if answer is None else json.dumps({"dependencies": [answer]})
    for name, script in {
        "uv": "true",
        "pip-audit": "echo 'no such host' >&2; exit 1" if answer is None else f"echo '{said}'",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [tmp_path / "python", ROOT / "requirements/audit.py"], capture_output=True, text=True, check=False
    )
    assert done.returncode == status, done.stderr
    assert says in done.stdout
