"""Configs of an earlier version mean the same."""

from __future__ import annotations

from typing import Any

import pytest

from tests.recorded import CONFIGS, FILES, plain, read, reading


def kept(before: Any, now: Any) -> Any:
    """`now` without what `before` does not have: options that are new since."""
    if isinstance(before, dict) and isinstance(now, dict):
        return {name: kept(value, now[name]) for name, value in before.items() if name in now}
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [kept(one, other) for one, other in zip(before, now, strict=True)]
    return now


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_of_an_earlier_version_means_the_same(name: str) -> None:
    """All its options, its steps' options, and its streams, whose tokens are valid only while they stay the same."""
    before, now = read()["configs"][name], plain(reading.meaning(FILES / name))
    assert kept(before, now) == before
    assert now["streams"] == before["streams"]
