"""The effective config as YAML, line by line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import yaml

from mess.config.effective import EffectiveValue

_Node = dict[str | int, Any]
"""What is in a section of the config, by key or list index: values, and other nodes."""


def outline(values: Iterable[EffectiveValue]) -> Iterator[tuple[str, EffectiveValue | None]]:
    """The lines, each with the value in it; None for one that only begins a section."""
    root: _Node = {}
    for value in values:
        node = root
        for key in value.keys[:-1]:
            node = node.setdefault(key, {})
        node[value.keys[-1]] = value
    return _lines(root, "")


def _lines(node: _Node, indent: str) -> Iterator[tuple[str, EffectiveValue | None]]:
    for key, inner in node.items():
        begin = f"{indent}-" if isinstance(key, int) else f"{indent}{_scalar(key)}:"
        if isinstance(inner, EffectiveValue):
            yield f"{begin} {_scalar(inner.value)}", inner
        elif isinstance(key, str):
            yield begin, None
            yield from _lines(inner, f"{indent}  ")
        else:
            # The first line of a list's entry follows its dash.
            for number, (line, value) in enumerate(_lines(inner, f"{indent}  ")):
                yield (line if number else f"{begin} {line[len(indent) + 2 :]}"), value


def _scalar(value: Any) -> str:
    return _dumped(value) if isinstance(value, (list, dict)) else _cached(value)


def _dumped(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=float("inf"))
    text = text.removesuffix("\n").removesuffix("\n...")
    return json.dumps(value, ensure_ascii=False) if "\n" in text else text  # YAML's own takes several lines


_cached = lru_cache(maxsize=10_000, typed=True)(_dumped)
"""The defaults of a large config are the same again and again."""
