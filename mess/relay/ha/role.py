"""Which of several processes with one relay name is active, as this process knows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from mess.state.lease import Presence


@dataclass(frozen=True, slots=True)
class Role:
    """What this process does under `ha`.

    `since` is when it took this role, by its own clock in UTC. `lease` is its option in seconds. `active` is the
    process that is active, None while none is known; `epoch` is that of this process, 0 while it is a standby.
    `problem` is why it could not take over at present.
    """

    name: Literal["active", "standby"]
    since: datetime
    lease: float
    epoch: int = 0
    active: Presence | None = None
    problem: str | None = None
