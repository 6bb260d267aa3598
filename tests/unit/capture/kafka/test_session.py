"""Nothing is delivered by a member that the group may have removed."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from mess.capture.kafka.heartbeat import Heard, Heartbeat
from mess.capture.kafka.session import Session
from mess.errors import SourceError
from mess.leadership import Leadership, now


def statistics(*, sent: float, received: float, waiting: int = 0, join_state: str = "steady") -> dict[str, Any]:
    """A sample of just now; the times are how many seconds ago."""
    coordinator = {
        "txidle": int(sent * 1e6),
        "rxidle": int(received * 1e6),
        "waitresp_cnt": waiting,
        "outbuf_cnt": 0,
    }
    return {
        "ts": int(time.monotonic() * 1e6),
        "cgrp": {"state": "up", "join_state": join_state},
        "brokers": {"GroupCoordinator": coordinator},
    }


def test_it_counts_from_when_the_answered_request_was_sent() -> None:
    """Not from the answer, which may have been on its way for long."""
    found = Heartbeat().heard(statistics(sent=3.0, received=1.0))
    assert found.steady
    assert found.at == pytest.approx(now() - 3.0, abs=0.5)


@pytest.mark.parametrize("sample", [statistics(sent=1.0, received=2.0), statistics(sent=2.0, received=1.0, waiting=1)])
def test_a_request_without_an_answer_shows_nothing(sample: dict[str, Any]) -> None:
    assert Heartbeat().heard(sample).at is None


def test_no_coordinator_yet() -> None:
    assert Heartbeat().heard({"ts": 0}) == Heard(None, False)


class Proof:
    """A commit that the coordinator accepts or refuses."""

    def __init__(self) -> None:
        self.accepted = True
        self.asked = 0

    async def __call__(self) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        if not self.accepted:
            raise SourceError("unknown member")


async def settled() -> None:
    """Let tasks run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_four_fifths_of_the_session() -> None:
    leadership, proof = Leadership(until=now() + 1.0), Proof()
    session = Session(leadership, 10.0, proof)
    at = now()
    session.heard(Heard(at, True))
    assert leadership.until == pytest.approx(at + 8.0)
    session.heard(Heard(at - 5.0, True))
    assert leadership.until == pytest.approx(at + 8.0)
    assert proof.asked == 0


async def test_after_a_silence_a_member_has_to_prove_that_it_is_one() -> None:
    """A process that was frozen hears an answer first, and learns only from its content that it was removed."""
    leadership, proof = Leadership(until=now() - 1.0), Proof()
    session = Session(leadership, 10.0, proof)
    proof.accepted = False
    session.heard(Heard(now(), True))
    await settled()
    assert proof.asked == 1
    assert leadership.lapsed
    proof.accepted = True
    session.heard(Heard(now(), True))
    await settled()
    assert not leadership.lapsed


async def test_nothing_is_extended_while_the_membership_changes() -> None:
    leadership = Leadership(until=now() + 1.0)
    before = leadership.until
    Session(leadership, 10.0, Proof()).heard(Heard(now(), False))
    assert leadership.until == before


async def test_a_fence_holds_until_what_was_lost_is_dropped() -> None:
    leadership, proof = Leadership(until=now() + 5.0), Proof()
    session = Session(leadership, 10.0, proof)
    session.fence()
    assert leadership.lapsed
    session.heard(Heard(now(), True))
    await settled()
    assert leadership.lapsed
    session.release()
    session.heard(Heard(now(), True))
    await settled()
    assert not leadership.lapsed
