"""Distributions as an installer leaves them, for tests of what MESS finds in installed packages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def install(
    site: Path,
    name: str,
    entry_points: Mapping[str, Mapping[str, str]],
    files: Mapping[str, str] | None = None,
    version: str = "1.0",
) -> None:
    """Put a distribution into the folder `site`: its `files` (path: text), and its metadata with the entry points of
    each group."""
    lines: list[str] = []
    for group, points in entry_points.items():
        lines += [f"[{group}]", *(f"{point} = {value}" for point, value in points.items()), ""]
    metadata = {
        "METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        "entry_points.txt": "\n".join(lines),
        "RECORD": "",
    }
    folder = f"{name.replace('-', '_')}-{version}.dist-info"
    for path, text in {**{f"{folder}/{file}": text for file, text in metadata.items()}, **(files or {})}.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(text)
