"""The log says why a step has been waiting for long: once, and again every ten minutes."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from structlog.testing import capture_logs

from mess.relay import wait_log
from mess.relay.wait_log import WaitLog
from mess.relay.waits import LONG, Place, Wait, Waits


def waiting(seconds: float) -> dict[Place, Wait]:
    since = datetime.now(timezone.utc) - timedelta(seconds=seconds)
    wait = Wait("step http of pipeline shop", "the sink is down: answered 503", since, events=3)
    return {("shop", "http"): wait}


def test_a_long_wait_is_logged_once_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(wait_log.time, "monotonic", lambda: now)
    steps = waiting(LONG / 2)
    log = WaitLog(lambda: Waits(steps=steps, pipelines={}, streams={}, events={}), lambda: 0.0)
    with capture_logs() as logs:
        log.look()
        assert logs == [], "it may be over soon"
        steps = waiting(2 * LONG)
        log.look()
        log.look()
        [line] = logs
        assert line["event"] == ("step http of pipeline shop: the sink is down: answered 503 (for 60 s); 3 events wait")
        now += 601
        log.look()
        assert len(logs) == 2, "it still waits"
        steps = {}
        log.look()
        steps = waiting(2 * LONG)
        log.look()
        assert len(logs) == 3, "it waits again"
