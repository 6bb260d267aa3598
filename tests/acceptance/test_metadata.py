"""What the package index and `pip show` say about MESS, and what `import mess` offers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def metadata() -> dict[str, Any]:
    """The metadata as the build writes it."""
    pytest.importorskip("hatch_fancy_pypi_readme", reason="the build's packages come with the lock: make test")
    command = [sys.executable, "-m", "hatchling", "metadata"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_package_index_shows_the_readme_with_absolute_links(metadata: dict[str, Any]) -> None:
    """Relative links would lead nowhere there. Each of them names a file that the repository has."""
    shown = metadata["readme"]["text"]
    links = re.findall(r"\]\(([^)]+)\)", shown)
    assert len(links) > 10
    assert [link for link in links if not link.startswith("https://")] == []
    base = metadata["urls"]["Repository"] + "/blob/main/"
    images = metadata["urls"]["Repository"] + "/raw/main/"
    ours = [link.removeprefix(base).partition("#")[0] for link in links if link.startswith(base)]
    assert "docs/delivery.md" in ours
    shown_images = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", shown)
    assert shown_images
    assert [image for image in shown_images if not image.startswith(images)] == []
    ours += [image.removeprefix(images) for image in shown_images]
    for path in ours:
        assert (ROOT / path).exists(), path


def test_the_projects_addresses_are_one_project(metadata: dict[str, Any]) -> None:
    """Documentation, issues, changes and the security policy can be found from the package index."""
    urls = metadata["urls"]
    assert {"Homepage", "Documentation", "Repository", "Issues", "Changelog", "Security"} <= urls.keys()
    assert all(url.startswith(urls["Repository"]) for url in urls.values())


def test_the_package_lists_what_it_offers() -> None:
    """`dir(mess)` and editors that ask it show Relay and the others, and importing MESS stays cheap."""
    program = (
        "import mess, sys; listed = set(dir(mess)); assert set(mess.__all__) <= listed, listed; "
        "assert 'aiohttp' not in sys.modules; "
        "assert all(getattr(mess, name) is not None for name in mess.__all__); print(mess.Relay)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "mess.app.Relay" in done.stdout
