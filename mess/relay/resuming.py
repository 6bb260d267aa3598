"""Determines where a relay's streams resume, from its stored state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bson import Timestamp

from mess.capture import legacy
from mess.capture.arrangement import Arrangement, Reached, Recorded, main_stream
from mess.capture.coverage import Rule, from_json
from mess.commands import command, quoted
from mess.errors import DamagedState
from mess.state.records import Gap, Positions

AHEAD = 60
"""How many seconds a stored time may be ahead of the server's; more means damage, since nothing was read there."""


def recorded_in(stored: Positions, relay: str) -> Recorded:
    """The progress in a relay's state. Raises DamagedState if it cannot be decoded."""
    if stored.coverage is None:
        try:
            return legacy.recorded_by(stored.legacy)
        except ValueError as error:
            stream = str(error).partition(":")[0]
            raise DamagedState(
                f"the checkpoint of stream {error} cannot be understood. Restore it from a backup, or give up the "
                f"position: {command(f'checkpoints reset --stream {quoted(stream)}')}"
            ) from error
    try:
        coverage = from_json(stored.coverage)
    except ValueError as error:
        raise DamagedState(
            f"the coverage map of relay {relay!r} is damaged: {error}. Restore the state from a backup, or give up all "
            f"positions: {command('checkpoints reset --all')}"
        ) from error
    return Recorded(coverage, {each.stream: Reached(each.plan, each.position) for each in stored.checkpoints})


def verify_times(recorded: Recorded, latest: Timestamp, begin: Timestamp) -> None:
    """Raise DamagedState for a time far beyond the server's `latest`, unless the config makes streams `begin` there."""
    times = [(rule.value.stream or str(rule.region), rule.value.time) for rule in recorded.coverage]
    times += [(name, reached.position.time) for name, reached in recorded.reached.items()]
    for name, time in times:
        if time is not None and time.time > latest.time + AHEAD and time.time != begin.time:
            raise DamagedState(
                f"the stored position of {name} ({time.as_datetime().isoformat()}) is in the future of the MongoDB "
                f"server ({latest.as_datetime().isoformat()}). Restore the state from a backup, or set the position: "
                f"{command(f'checkpoints set TIME --stream {quoted(name)}')}"
            )


def moved(recorded: Recorded, stream: str, time: Timestamp) -> Recorded:
    """The same progress, with everything that a stream covers set to `time`."""
    rules = [
        Rule(rule.region, replace(rule.value, time=time)) if rule.value.stream == stream else rule
        for rule in recorded.coverage
    ]
    return Recorded(tuple(rules), {name: each for name, each in recorded.reached.items() if name != stream})


def with_decisions(recorded: Recorded, gaps: Iterable[Gap]) -> Recorded:
    """The same progress, with operators' decisions about when stopped streams continue."""
    for gap in gaps:
        if gap.open and gap.resume is not None:
            recorded = moved(recorded, gap.stream, gap.resume)
    return recorded


def settled(gaps: Sequence[Gap], arrangement: Arrangement) -> list[tuple[Gap, Timestamp]]:
    """The open gaps whose streams no longer wait, each with the time at which its stream continues."""
    waiting = {start.name for start in arrangement.starts if start.waits}
    begins = {start.name: start.position.time for start in arrangement.starts}
    found: list[tuple[Gap, Timestamp]] = []
    for gap in gaps:
        if gap.open and gap.stream not in waiting:
            # The chosen time may be lost as well, and be skipped.
            until = begins.get(gap.stream) or gap.resume or begins.get(main_stream(gap.stream)) or gap.since
            found.append((gap, until or Timestamp(0, 1)))
    return found
