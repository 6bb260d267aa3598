"""The functions that the recorded configs name."""

from __future__ import annotations

from typing import Any


def enrich(input: dict[str, Any], config: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:  # noqa: A002
    """Fail for orders that say so."""
    if (input.get("fullDocument") or {}).get("broken"):
        raise ValueError("this order is broken")
    return input


def dummy(input: dict[str, Any], config: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:  # noqa: A002
    """Hand the event on as it is."""
    return input


def hook(item: dict[str, Any], context: dict[str, Any]) -> None:
    """Take a whole pipeline's place."""
