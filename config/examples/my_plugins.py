"""The functions that the example configs name.

A step's function gets the body as it stands (a dict of its own), the step's `config` and the whole config file as
`context`. It returns the new body, or None to drop the event. It may be async. An exception refuses the event, and the
step's `on_failure` decides what becomes of it.
"""

from __future__ import annotations

from typing import Any


def dummy(input: dict[str, Any], config: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:  # noqa: A002
    """Hand the event on as it is."""
    return input


def enrich(input: dict[str, Any], config: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:  # noqa: A002
    """Say which relay the event came through."""
    return {**input, "relay": context.get("name", "mess")}


def only_large(
    input: dict[str, Any],  # noqa: A002
    config: dict[str, Any],
    context: dict[str, Any],
) -> dict[str, Any] | None:
    """Drop orders below the total that the step's config names."""
    document = input.get("fullDocument") or {}
    return input if document.get("total", 0) >= config.get("total", 0) else None


async def change_hook(item: dict[str, Any], context: dict[str, Any]) -> None:
    """Take a whole pipeline's place."""
    print(item["operationType"], item.get("documentKey"))  # noqa: T201
