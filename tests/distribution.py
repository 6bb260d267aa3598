"""Distributions as an installer leaves them, for tests of what MESS finds in installed packages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def install(
    site: Path, name: str, steps: Mapping[str, str], files: Mapping[str, str] | None = None, version: str = "1.0"
) -> None:
    """Put a distribution into the folder `site`: its `files` (path: text), and its metadata with `steps` as the entry
    points of the group `mess.steps`."""
    metadata = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "entry_points.txt": "\n".join(["[mess.steps]", *(f"{step} = {value}" for step, value in steps.items()), ""]),
        "RECORD": "",
    }
    folder = f"{name.replace('-', '_')}-{version}.dist-info"
    for path, text in {**{f"{folder}/{file}": text for file, text in metadata.items()}, **(files or {})}.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
