"""State that survives a restart: checkpoints, dead letters and gaps. Start reading at `store` (the port)."""

from mess.state.records import Attempt
from mess.state.store import Checkpoint, DeadLetter, Gap, Positions, StateStore, Wanted

__all__ = ["Attempt", "Checkpoint", "DeadLetter", "Gap", "Positions", "StateStore", "Wanted"]
