"""Tests that need a Docker engine: `make test-docker`.

`make test` does not collect them: they build an image and take minutes.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.compose import Project, docker

ROOT = Path(__file__).parents[2]
IMAGE = "mess-test"

if os.environ.get("MESS_TEST_DOCKER") != "1":
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def image() -> str:
    """The image, built as a user builds it. Without a Docker engine the tests are skipped."""
    try:
        done = docker("version", "--format", "{{.Server.Version}}", check=False)
    except FileNotFoundError:
        pytest.skip("docker is not installed")
    if done.returncode != 0:
        pytest.skip(f"no Docker engine answers: {done.stderr.strip()[:200]}")
    # The host's network, for engines whose build containers cannot reach a package index by themselves.
    docker("build", "--network", "host", "--tag", IMAGE, str(ROOT), timeout=1200)
    return IMAGE


@pytest.fixture
def project(image: str, tmp_path: Path) -> Iterator[Project]:
    """The Compose file, up and ready, in a project of its own."""
    found = Project(ROOT / "docker-compose.yml", image, tmp_path)
    try:
        found.up()
        yield found
    except subprocess.CalledProcessError as error:
        pytest.fail(f"{error}\n{error.stdout}\n{error.stderr}")
    finally:
        found.down()
