"""The receiver's script: what it answers in each act."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

import pytest

from mess.demo.bin import Received
from mess.demo.chaos import ACTS, Act, Chaos
from tests.waiting import until


def _order(number: int, *goods: str) -> Received:
    items = [{"sku": name} for name in goods]
    return Received(f"msg_{number}", 0.0, {"operationType": "insert", "fullDocument": {"items": items}}, again=False)


async def _playing(acts: Sequence[Act]) -> tuple[Chaos, asyncio.Task[None], list[str]]:
    said: list[str] = []
    chaos = Chaos(acts, lambda title, text: said.append(f"{title} {text}"))
    task = asyncio.create_task(chaos.run())
    await asyncio.sleep(0)
    return chaos, task, said


def test_the_whole_script_takes_a_minute_and_a_half() -> None:
    """It has an outage, slow answers and refusals, and begins and ends healthy."""
    assert sum(act.seconds for act in ACTS) == pytest.approx(90)
    assert [act.status for act in ACTS] == [200, 503, 200, 200, 200, 200]
    assert [bool(act.delay) for act in ACTS] == [False, False, False, True, False, False]
    assert [bool(act.refused) for act in ACTS] == [False, False, False, False, True, False]
    assert "{replay}" in ACTS[-1].text


async def test_acts_follow_each_other_again_and_again() -> None:
    _, task, said = await _playing([Act(0.01, "down", status=503), Act(0.01, "up")])
    await until(lambda: len(said) >= 5, "five acts")
    task.cancel()
    assert said[:5] == ["act 1/2 down", "act 2/2 up", "act 1/2 down", "act 2/2 up", "act 1/2 down"]


async def test_when_it_ends_everything_is_accepted() -> None:
    """So that what has waited can arrive."""
    chaos, task, _ = await _playing([Act(60, "down", status=503)])
    assert (await chaos.answer(_order(1, "lamp"))).status == 503
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    assert (await chaos.answer(_order(1, "lamp"))).status == 200


async def test_slow_answers_take_their_time() -> None:
    chaos, task, _ = await _playing([Act(60, "slow", delay=0.05)])
    began = time.monotonic()
    assert (await chaos.answer(_order(1))).status == 200
    assert time.monotonic() - began >= 0.04
    task.cancel()


async def test_refuses_a_few_and_those_each_time() -> None:
    """Only orders of these goods; a refused event is refused again, until the act is over."""
    chaos, task, _ = await _playing([Act(60, "teapots", refused="teapot")])
    assert (await chaos.answer(_order(0, "lamp"))).status == 200
    statuses = [(await chaos.answer(_order(number, "lamp", "teapot"))).status for number in range(1, 21)]
    assert statuses == [422] * 8 + [200] * 12
    assert (await chaos.answer(_order(3, "lamp", "teapot"))).status == 422
    task.cancel()
