"""What the command line asks for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """`seconds` is how long a latency run lasts; `idle_seconds` the idle one; `backlog` and `big` are how many events
    the memory runs have of the usual size and of 64 KB; `down_seconds` is how long their sink is down; `documents` is
    how many a backfill sends, of `size` bytes; `lease` is that of processes with a standby, in seconds."""

    rounds: int = 5
    events: int = 100_000
    seconds: float = 10.0
    idle_seconds: float = 60.0
    backlog: int = 1_000_000
    big: int = 10_000
    down_seconds: float = 20.0
    documents: int = 300_000
    size: int = 300
    lease: float = 3.0
