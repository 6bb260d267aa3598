"""How many lanes a pipeline gets."""

from __future__ import annotations

from typing import Any

import pytest

from mess.relay.pipeline import Pipeline
from tests.unit.fakes import Recorder
from tests.unit.relay.line import Line


@pytest.mark.parametrize(
    ("max_events", "room", "spec", "lanes"),
    [
        (500, 9_200, {}, 16),
        (500, 1_500, {}, 3),
        (500, 400, {}, 1),
        (1, 400, {}, 16),
        (1, 40, {}, 5),
        (1, 1, {}, 1),
        (500, 400, {"concurrency": 6}, 6),
    ],
    ids=str,
)
def test_no_more_lanes_than_the_room_fills_unless_they_are_asked_for(
    max_events: int, room: int, spec: dict[str, Any], lanes: int
) -> None:
    line = Line(Recorder(max_events=max_events), **spec)
    assert Pipeline("any", line.runners, line.stopping).lanes(room) == lanes
