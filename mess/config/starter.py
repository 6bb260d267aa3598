"""The config file that `mess init` writes."""

from __future__ import annotations

from pathlib import Path


def template() -> str:
    """A commented config file that works as it is."""
    return Path(__file__).with_name("template.yml").read_text(encoding="utf-8")
