"""What the http step makes of an answer, against docs/delivery.md: whatever a receiver does, down to the bytes."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mess.errors import Ambiguous, EndpointDown, Refused
from mess.event import Event
from mess.steps.base import Context
from mess.steps.http.answers import failure
from mess.steps.http.step import Http, HttpConfig
from tests.fuzz.misbehaving import SECRET, SLOW, Misbehaving, Script, answers, retry_afters, silences
from tests.fuzz.profiles import examples
from tests.fuzz.table import meaning
from tests.unit.fakes import make_events

TIMEOUT = 0.4
PATIENCE = 5.0
"""Seconds that a busy machine may take longer."""


UNASKED = Script((b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",) * 2, status=200)
"""A good answer, and behind it another one that nobody asked for."""


def possible(script: Script) -> set[str]:
    """What one request may come to. Where the answer breaks the rules of HTTP, its status need not be found."""
    if script.status is not None:
        return {meaning(script.status)} if script.whole else {meaning(script.status), "down"}
    if script.ending != "hang":
        return {"down"}
    return {"ambiguous"} if script.whole else {"ambiguous", "down"}


def outcome(error: Exception | None) -> str:
    kinds = {type(None): "done", EndpointDown: "down", Ambiguous: "ambiguous", Refused: "refused"}
    return kinds[type(error)]


@asynccontextmanager
async def opened(url: str, **options: Any) -> AsyncIterator[Http]:
    step = HttpConfig.model_validate({"endpoint": url, "timeout": TIMEOUT, **options}).build(Context())
    await step.open()
    try:
        yield step
    finally:
        await step.close()


async def attempt(step: Http, events: Sequence[Event]) -> Exception | None:
    """One attempt on events that go into one request."""
    try:
        await step.process(events)
    except (EndpointDown, Ambiguous, Refused) as error:
        return error
    return None


@pytest.fixture
async def server() -> AsyncIterator[Misbehaving]:
    async with Misbehaving() as found:
        yield found


@examples(45, shrink=False)
@given(answers() | silences, st.booleans())
async def test_an_answer_means_what_the_table_says(server: Misbehaving, script: Script, batch: bool) -> None:
    """And the step says so within its timeout, or twice that where the connection was hung up on it once."""
    server.ids.clear()
    server.scripts = [script, script]  # an attempt on a connection that is hung up may be repeated at once
    events = make_events(3 if batch else 1)
    async with opened(server.url, batch={} if batch else None) as step:
        began = asyncio.get_running_loop().time()
        error = await attempt(step, events)
        took = asyncio.get_running_loop().time() - began
    await server.hang_up()
    assert outcome(error) in possible(script), error
    assert SECRET not in str(error)
    assert took < 2 * TIMEOUT + PATIENCE
    assert 1 <= len(server.ids) <= 2
    assert len(set(server.ids)) == 1
    if isinstance(error, EndpointDown) and error.retry_after is not None:
        assert error.retry_after >= 0
        assert script.retry_after is not None


@examples(25, shrink=False)
@given(st.lists(answers() | silences, min_size=2, max_size=4), st.booleans())
@example([UNASKED, Script((b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",), status=500)], True)
async def test_what_an_answer_does_to_its_connection_is_no_matter_for_the_next(
    server: Misbehaving, scripts: list[Script], pause: bool
) -> None:
    """Each event's outcome is that of the answer to it, never that of one to another event, or to none."""
    async with opened(server.url) as step:
        for script, event in zip(scripts, make_events(len(scripts)), strict=True):
            server.ids.clear()
            server.scripts = [script, script]
            error = await attempt(step, [event])
            assert outcome(error) in possible(script), error
            assert set(server.ids) == {event.id}
            if pause or not script.whole:
                await asyncio.sleep(SLOW * (len(script.pieces) + 1))  # what comes late is there by then
    await server.hang_up()


async def test_a_connection_that_is_not_made_in_time_is_down() -> None:
    """As when a firewall drops what is sent, or the receiver's queue of connections is full."""
    with socket.socket() as listening, socket.socket() as first, socket.socket() as second:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for filling in (first, second):
            filling.setblocking(False)
            filling.connect_ex(listening.getsockname())
        await asyncio.sleep(SLOW)
        async with opened(f"http://127.0.0.1:{listening.getsockname()[1]}/") as step:
            assert outcome(await attempt(step, make_events(1))) == "down"


@examples(40)
@given(answers(), st.sampled_from(["done", "down", "ambiguous", "refused"]), st.sampled_from(["exact", "class"]))
async def test_the_config_may_say_otherwise(server: Misbehaving, script: Script, means: str, how: str) -> None:
    assume(script.whole)
    listed = script.status if how == "exact" else f"{str(script.status)[0]}xx"
    server.scripts = [script]
    async with opened(server.url, answers={means: [listed]}) as step:
        assert outcome(await attempt(step, make_events(1))) == means
    await server.hang_up()


@examples(200)
@given(retry_afters)
@example("120")
def test_retry_after_is_a_number_of_seconds_or_a_date_or_nothing(value: str) -> None:
    """RFC 9110, 10.2.3; what is neither must not be taken for a time, and never for one in the past."""
    error = failure("down", 503, {"Retry-After": value}, b"")
    assert isinstance(error, EndpointDown)
    if re.fullmatch(r"[0-9]+", value):
        assert error.retry_after == float(value)
    elif error.retry_after is not None:
        assert error.retry_after >= 0
        assert re.search(r"[0-9]", value)


@examples(60)
@given(st.datetimes(datetime(2027, 1, 1), datetime(2100, 1, 1)))
def test_retry_after_may_be_a_date(moment: datetime) -> None:
    text = format_datetime(moment.replace(tzinfo=timezone.utc), usegmt=True)
    error = failure("down", 503, {"Retry-After": text}, b"")
    assert isinstance(error, EndpointDown)
    left = (moment.replace(microsecond=0, tzinfo=timezone.utc) - datetime.now(timezone.utc)).total_seconds()
    assert error.retry_after == pytest.approx(max(0.0, left), abs=60)
