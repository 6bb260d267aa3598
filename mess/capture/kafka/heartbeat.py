"""The last sign of life of the group's coordinator, from librdkafka's statistics."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from mess.leadership import now

_COORDINATOR = "GroupCoordinator"
_MICROSECONDS = 1_000_000


class Heard(NamedTuple):
    """A sample: when the last request was sent that the coordinator has answered (`mess.leadership.now`), None if one
    is still unanswered; and whether this member takes part in the group, with nothing about to change."""

    at: float | None
    steady: bool


class Heartbeat:
    """When the coordinator has last been heard of. Requests to it are heartbeats, commits, and those of a rebalance:
    each shows that this member is alive.

    The statistics use the system's monotonic clock, which does not count while the machine is suspended. So what was
    sampled before a suspension, and is seen after it, is taken for older than it is.
    """

    def __init__(self) -> None:
        self._ahead = now() - time.monotonic()

    def heard(self, statistics: Mapping[str, Any]) -> Heard:
        """What a sample says."""
        ahead, self._ahead = self._ahead, now() - time.monotonic()
        group = statistics.get("cgrp", {})
        steady = group.get("state") == "up" and group.get("join_state") == "steady"
        coordinator = statistics.get("brokers", {}).get(_COORDINATOR)
        if coordinator is None or coordinator.get("waitresp_cnt") or coordinator.get("outbuf_cnt"):
            return Heard(None, steady)
        sent, received = coordinator.get("txidle", -1), coordinator.get("rxidle", -1)
        if sent < 0 or received < 0 or received > sent:
            return Heard(None, steady)
        return Heard((statistics["ts"] - sent) / _MICROSECONDS + ahead, steady)
