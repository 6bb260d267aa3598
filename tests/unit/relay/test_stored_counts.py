"""What the state holds is counted beside delivery, and its failures are no reason to stop."""

from __future__ import annotations

from typing import Any, cast

from mess.errors import StateError
from mess.relay.stored_counts import StoredCounts
from mess.state.store import StateStore


class Store:
    """Holds three dead letters, until it fails."""

    def __init__(self) -> None:
        self.fails = False

    async def dead_letter_places(self) -> dict[tuple[str, str], int]:
        if self.fails:
            raise StateError("away")
        return {("shop", "http"): 3}

    async def backfills(self) -> list[Any]:
        return []


async def test_the_last_counts_stay_while_the_state_cannot_be_read() -> None:
    """An alert on dead letters must not end because MongoDB is away."""
    store = Store()
    counts = StoredCounts(cast(StateStore, store))
    store.fails = True
    await counts.count()
    assert counts.dead_letters is None
    assert counts.backfills is None
    store.fails = False
    await counts.count()
    store.fails = True
    await counts.count()
    assert counts.dead_letters == {("shop", "http"): 3}
    assert counts.backfills == dict.fromkeys(("waiting", "running", "paused", "done", "cancelled", "failed"), 0)
