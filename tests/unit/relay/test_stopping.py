"""Stopping a part of the relay."""

from __future__ import annotations

import pytest

from mess.relay.stopping import Halted, Stopping


async def test_a_part_stops_alone_and_with_the_whole() -> None:
    whole = Stopping()
    one, other = Stopping(whole), Stopping(whole)
    one.set()
    assert one.is_over()
    assert not whole.is_set()
    with pytest.raises(Halted):
        await one.pause(60)
    whole.in_order(100.0)
    assert other.is_set()
    assert not other.is_over()  # waiting events may still be delivered for a while
    assert Stopping(whole).is_set()


async def test_an_error_in_a_part_stops_everything() -> None:
    whole = Stopping()
    one, other = Stopping(whole), Stopping(whole)
    one.set()
    one.fail(ValueError("broken"))
    assert str(whole.failure) == "broken"
    assert other.is_over()
