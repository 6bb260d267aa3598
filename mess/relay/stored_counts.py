"""Counts what the state store holds, in the background: a scrape must not wait for a database."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

from mess.errors import StateError
from mess.state.backfills import STATES
from mess.state.store import StateStore
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

_EVERY = 10.0
_TIMES = 50
"""The pause is at least this many times as long as counting has taken."""


class StoredCounts:
    """How many dead letters a store holds by pipeline and step, and how many backfills by state; both are None while
    unknown."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self.dead_letters: dict[tuple[str, str], int] | None = None
        self.backfills: dict[str, int] | None = None

    @property
    def letters(self) -> int | None:
        """How many dead letters there are in all; None while unknown."""
        return None if self.dead_letters is None else sum(self.dead_letters.values())

    async def run(self) -> None:
        """Count every ten seconds, forever."""
        while True:
            began = time.monotonic()
            await self.count()
            await asyncio.sleep(max(_EVERY, _TIMES * (time.monotonic() - began)))

    async def count(self) -> None:
        """Count now. While the state cannot be read, the last counts stay."""
        try:
            self.dead_letters = await self._store.dead_letter_places()
            states = Counter(backfill.progress.state for backfill in await self._store.backfills())
            self.backfills = {state: states[state] for state in STATES}
        except StateError as error:
            log.debug("dead letters and backfills cannot be counted at present", error=str(error))
