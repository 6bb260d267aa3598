"""What a release does before it builds, and what the wheel holds. `make release VERSION=9999` does the whole of it."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
CHANGELOG = """\
# Changelog

## [Unreleased]

### Added

- Something.

## [0.2.0] - 2026-01-01

### Added

- Something else.
"""


@pytest.fixture(scope="module")
def release() -> ModuleType:
    """`.ci/release.py`."""
    spec = importlib.util.spec_from_file_location("release", ROOT / ".ci/release.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def git(root: Path, *arguments: str) -> None:
    settings = ["-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", *settings, "-C", root, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A committed tree with what a release changes."""
    (tmp_path / "mess").mkdir()
    shutil.copy(ROOT / "mess/__init__.py", tmp_path / "mess")
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "x")
    return tmp_path


def test_version_and_changelog_are_written(release: ModuleType, repository: Path) -> None:
    """In one place each: what was unreleased gets the version and its date, and a new, empty section is above it."""
    release.prepare(repository, "0.3.0", today="2026-02-03")
    assert '\n__version__ = "0.3.0"\n' in (repository / "mess/__init__.py").read_text()
    expected = CHANGELOG.replace("[Unreleased]\n", "[Unreleased]\n\n## [0.3.0] - 2026-02-03\n")
    assert (repository / "CHANGELOG.md").read_text() == expected


def test_without_news_there_is_nothing_to_release(release: ModuleType, repository: Path) -> None:
    release.prepare(repository, "0.3.0", today="2026-02-03")
    with pytest.raises(release.Refused, match="nothing under"):
        release.prepare(repository, "0.4.0", today="2026-02-03")


def test_the_projects_own_changelog_can_be_dated(release: ModuleType, repository: Path) -> None:
    shutil.copy(ROOT / "CHANGELOG.md", repository)
    release.prepare(repository, "9999", today="2026-02-03")
    assert "\n## [9999] - 2026-02-03\n\n### " in (repository / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("", "make release VERSION=1.2.3"),
        ("next", "make release VERSION=1.2.3"),
        ("v0.3.0", "write the version as 0.3.0"),
        ("0.2.0", "0.2.0 is released already"),
        ("0.1.9", "0.2.0 is released already"),
        ("0.5.0rc1", "0.5.0 is released already"),
    ],
)
def test_a_version_that_is_none_or_not_new_is_refused(
    release: ModuleType, repository: Path, version: str, says: str
) -> None:
    """Tags and changelog say what is released."""
    if version.startswith("0.5"):
        git(repository, "tag", "v0.5.0")
    with pytest.raises(release.Refused, match=says):
        release.check(repository, version)
    assert release.check(repository, "0.6.0") is None


@pytest.mark.parametrize("change", ["CHANGELOG.md", "new.txt"])
def test_a_tree_that_is_not_clean_is_refused(release: ModuleType, repository: Path, change: str) -> None:
    """What is released is what was committed."""
    (repository / change).write_text("x")
    with pytest.raises(release.Refused, match=change):
        release.check(repository, "0.3.0")


def test_the_wheel_holds_every_file_of_the_package(tmp_path: Path) -> None:
    """Templates, types and other data too, as they are in the repository, and nothing but the package."""
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    listed = subprocess.run(["git", "ls-files", "-z", "mess"], cwd=ROOT, capture_output=True, text=True, check=True)
    committed = {name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}
    assert "mess/config/template.yml" in committed
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert {name for name in held if (ROOT / name).read_bytes() == archive.read(name)} == held
        (points,) = (archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert "mess = mess.cli:main" in points
    assert committed <= held
    assert all(name.startswith("mess/") for name in held)
