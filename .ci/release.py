"""`make release VERSION=1.2.3`: a release, as far as it can be undone.

Rehearses it in a copy of the last commit: sets the version, dates the changelog, builds the packages, checks them, and
tries the wheel in a fresh environment. With `--write`, the working tree gets the new version and changelog, and `dist/`
the packages. Prints the commands that publish, and runs none of them.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from datetime import datetime, timezone
from pathlib import Path

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parents[1]
VERSION, CHANGELOG = "mess/__init__.py", "CHANGELOG.md"

_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)
_UNRELEASED = re.compile(r"^## \[Unreleased\]\n+(?=### )", re.MULTILINE)
_RELEASED = re.compile(r"^## \[(\d[^\]]*)\]", re.MULTILINE)

_COMMANDS = """\
  git commit --message 'Release {version}' {files}
  git tag --annotate v{version} --message 'MESS {version}'
  git push --follow-tags
  .venv-tools/bin/twine upload dist/mess-{version}*
  docker buildx build --platform linux/amd64,linux/arm64 --build-arg VERSION={version} \\
      --build-arg REVISION="$(git rev-parse HEAD)" --tag REGISTRY/mess:{version} --push .
"""


class Refused(Exception):
    """The release cannot be made; says why."""


def main() -> int:
    """The exit status: 0, or 1 with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="make release", description=(__doc__ or "").partition("\n\n")[2])
    parser.add_argument("version")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    try:
        _release(ROOT, options.version, write=options.write)
    except Refused as error:
        print(error, file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"failed: {' '.join(map(str, error.cmd))}", file=sys.stderr)
        return 1
    return 0


def _release(root: Path, version: str, *, write: bool) -> None:
    check(root, version)
    open_points = unfinished(root)
    if write and open_points:
        raise Refused("\n".join(open_points))
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "mess"
        _run("git", "clone", "--quiet", root, copy)
        prepare(copy, version, today=datetime.now(timezone.utc).date().isoformat())
        _run("git", "-C", copy, "--no-pager", "diff", "--unified=1")
        _build(copy)
        _try(copy, version)
        if write:
            for name in (VERSION, CHANGELOG):
                shutil.copy(copy / name, root / name)
            shutil.copytree(copy / "dist", root / "dist", dirs_exist_ok=True)
    if write:
        print(f"\n{VERSION}, {CHANGELOG} and dist/ are written. To publish:\n")
    else:
        print(f"\nNothing is written. To write it: make release VERSION={version} WRITE=1; then, to publish:\n")
    print(_COMMANDS.format(version=version, files=f"{VERSION} {CHANGELOG}"))
    for each in open_points:
        print(f"Not yet: {each}")


def check(root: Path, version: str) -> None:
    """Raise Refused unless the tree is clean and the version, in its normal form, is a new one."""
    try:
        new = Version(version)
    except InvalidVersion:
        raise Refused(f"{version!r} is not a version; make release VERSION=1.2.3") from None
    if str(new) != version:
        raise Refused(f"write the version as {new}")
    if changed := _git(root, "status", "--porcelain"):
        raise Refused(f"commit or remove what has changed first:\n{changed}")
    tags = (tag.removeprefix("v") for tag in _git(root, "tag", "--list", "v[0-9]*").split())
    older = [*tags, *_RELEASED.findall((root / CHANGELOG).read_text())]
    newest = max(map(Version, older), default=None)
    if newest is not None and new <= newest:
        raise Refused(f"{newest} is released already; the next version is a later one")


def prepare(root: Path, version: str, *, today: str) -> None:
    """Set the version, and date what is new in the changelog. Raises Refused if nothing is new."""
    module, changelog = root / VERSION, root / CHANGELOG
    text, found = _UNRELEASED.subn(f"## [Unreleased]\n\n## [{version}] - {today}\n\n", changelog.read_text())
    if found != 1:
        raise Refused(f"{CHANGELOG} has nothing under [Unreleased]")
    changelog.write_text(text)
    module.write_text(_VERSION.sub(f'__version__ = "{version}"', module.read_text()))


def unfinished(root: Path) -> list[str]:
    """What has to be done before anybody else gets the release."""
    pinned = subprocess.run([root / "docker/pin-images.sh", "--check"], capture_output=True, text=True, check=False)
    found = [pinned.stderr.strip()] if pinned.returncode else []
    files = [name for name in ("pyproject.toml", "Dockerfile") if "mess.example" in (root / name).read_text()]
    if files:
        found.append(f"{' and '.join(files)} still have mess.example for the project's public address")
    return found


def _build(copy: Path) -> None:
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", copy / "dist", copy, quiet=True)
    packages = sorted((copy / "dist").iterdir())
    _run(sys.executable, "-m", "twine", "--no-color", "check", "--strict", *packages)


def _try(copy: Path, version: str) -> None:
    """Install the wheel as a user does, and use it outside of the source."""
    home = copy.parent / "try"
    venv.create(home, with_pip=True)
    (wheel,) = (copy / "dist").glob("*.whl")
    _run(home / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    mess = home / "bin/mess"
    said = subprocess.run([mess, "--version"], cwd=home, capture_output=True, text=True, check=True).stdout
    if said.split() != ["mess", version]:
        raise Refused(f"mess --version says {said!r}")
    print(said.strip())
    _run(mess, "validate", "--config", copy / "config/config.yml", cwd=home)
    _run(mess, "demo", "--help", cwd=home, quiet=True)


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", "-C", root, *arguments], capture_output=True, text=True, check=True).stdout


def _run(*command: str | Path, cwd: Path | None = None, quiet: bool = False) -> None:
    print("$", *command, flush=True)
    done = subprocess.run(command, cwd=cwd, text=True, capture_output=quiet, check=False)
    if done.returncode:
        print(done.stdout or "", done.stderr or "", sep="")
        raise subprocess.CalledProcessError(done.returncode, command)


if __name__ == "__main__":
    sys.exit(main())
