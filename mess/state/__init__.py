"""What survives a restart: checkpoints, dead letters and gaps."""

from mess.state.store import Checkpoint, DeadLetter, Gap, StateStore

__all__ = ["Checkpoint", "DeadLetter", "Gap", "StateStore"]
