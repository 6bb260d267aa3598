"""The server's time, whatever this host's clock says."""

from __future__ import annotations

import time
from datetime import datetime, timezone

import pytest

from mess.capture.clock import ServerClock


class Monotonic:
    def __init__(self) -> None:
        self.value = 100.0

    def __call__(self) -> float:
        return self.value


@pytest.mark.parametrize("zone", [timezone.utc, None])
def test_it_runs_on_by_the_monotonic_clock(zone: timezone | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """This host's wall clock, which may jump, plays no part."""
    monotonic = Monotonic()
    clock = ServerClock(monotonic)
    clock.observe({"localTime": datetime(2026, 1, 1, tzinfo=zone)})
    monkeypatch.setattr(time, "time", lambda: 0.0)
    monotonic.value += 5
    assert clock.now() == datetime(2026, 1, 1, 0, 0, 5, tzinfo=timezone.utc).timestamp()
    clock.observe({"localTime": datetime(2026, 1, 2, tzinfo=zone)})
    assert clock.now() == datetime(2026, 1, 2, tzinfo=timezone.utc).timestamp()


def test_before_the_first_answer_there_is_only_this_hosts_time() -> None:
    clock = ServerClock()
    clock.observe({})
    assert abs(clock.now() - time.time()) < 5
