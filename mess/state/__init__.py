"""State that survives a restart: checkpoints, dead letters, gaps and backfills. Start reading at `store` (the port)."""

from mess.state.records import Attempt
from mess.state.store import Backfill, BackfillProgress, Checkpoint, DeadLetter, Gap, Positions, StateStore, Wanted

__all__ = [
    "Attempt",
    "Backfill",
    "BackfillProgress",
    "Checkpoint",
    "DeadLetter",
    "Gap",
    "Positions",
    "StateStore",
    "Wanted",
]
