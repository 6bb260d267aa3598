"""Names of steps within a pipeline."""

from __future__ import annotations

import pytest

from mess.config.model import StepSpec
from mess.relay.build import stage_names


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ([], []),
        (["log", "http"], ["log", "http"]),
        (["http", "log", "http", "http"], ["http", "log", "http 2", "http 3"]),
        (["http", "http 2", "http"], ["http", "http 2", "http 3"]),
        (["http", "http", "http 2"], ["http", "http 2", "http 2 2"]),
    ],
)
def test_no_two_steps_have_one_name(steps: list[str], names: list[str]) -> None:
    """So that a dead letter says which one failed."""
    assert stage_names([StepSpec(name=name) for name in steps]) == names
