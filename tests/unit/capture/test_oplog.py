"""What the ends of an oplog say of what it has lost."""

from __future__ import annotations

import pytest
from bson import Timestamp

from mess.capture.oplog import Oplog


@pytest.mark.parametrize(
    ("whole", "filled", "rolls"),
    [
        (True, 0.01, False),  # a new replica set
        (True, 0.97, True),  # not truncated yet, but with the next writes
        (False, 0.02, False),  # a member that was added later
        (False, 0.99, True),
        (True, None, False),
        (False, None, True),
    ],
)
def test_a_young_oplog_is_not_one_that_loses_its_beginning(whole: bool, filled: float | None, rolls: bool) -> None:
    assert Oplog(Timestamp(10, 1), Timestamp(20, 1), whole, filled).rolls == rolls


def test_what_it_holds() -> None:
    """Before the founding nothing happened, so no position is too old for an oplog that begins with it."""
    assert Oplog(Timestamp(10, 1), Timestamp(20, 1), whole=True).holds(Timestamp(5, 1))
    rolled = Oplog(Timestamp(10, 1), Timestamp(20, 1), whole=False)
    assert not rolled.holds(Timestamp(9, 9))
    assert rolled.holds(Timestamp(10, 1))
    assert rolled.seconds == 10
