"""Several processes of one relay name, and what becomes of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence

from tests.campaign.processes.member import Member
from tests.campaign.processes.recorder import Recorder

_SETTLE_SECONDS = 120.0
_STOP_SECONDS = 25.0
_SUPERSEDED = 6
_FRESH_SECONDS = 0.5


class Group:
    """Processes, by `members`; `problems` are what they did that nobody asked for."""

    def __init__(self, members: Sequence[Member], recorder: Recorder) -> None:
        self.members = members
        self.problems: list[str] = []
        self._recorder = recorder

    @property
    def running(self) -> list[Member]:
        """Those that live."""
        return [member for member in self.members if member.running]

    def member(self, name: str) -> Member:
        """By its name."""
        return next(member for member in self.members if member.name == name)

    @property
    def active(self) -> Member:
        """The one that delivered last."""
        return self.member(self._recorder.process)

    @property
    def standbys(self) -> list[Member]:
        """All others."""
        return [member for member in self.members if member.name != self._recorder.process]

    async def settle(self) -> bool:
        """Have all run, ready, and one of them deliver; whether that came about. Events must be on their way."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < deadline:
            for member in self.members:
                if not member.running:
                    self._look_at(member)
                    await member.start(ready=False)
            left = deadline - time.monotonic()
            if not all(await asyncio.gather(*(member.warm(left) for member in self.members))):
                continue
            if time.time() - self._recorder.last < _FRESH_SECONDS and self.active.running:
                for member in self.members:
                    member.excused = False
                return True
            await asyncio.sleep(0.05)
        states = ", ".join(f"{m.name} {'runs' if m.running else 'has ended'}" for m in self.members)
        self.problems.append(f"not settled within {_SETTLE_SECONDS:g} s: {states}: {last_words(self.members)}")
        return False

    async def stop(self, member: Member, *allowed: int) -> None:
        """Ask it to stop, and wait until it has."""
        if not member.running:
            self._look_at(member)
            return
        member.terminate()
        try:
            code = await member.exit_code(_STOP_SECONDS)
        except AssertionError:
            self.problems.append(f"{member.name} does not stop within {_STOP_SECONDS:g} s: {last_words([member])}")
            member.kill()
        else:
            member.asked_to_end = True
            if code not in (0, *allowed):
                self.problems.append(f"{member.name}: exit code {code} after SIGTERM: {last_words([member])}")

    def kill(self, member: Member) -> None:
        """End it as a crash would."""
        if member.running:
            member.kill()
        else:
            self._look_at(member)
        member.excused = True

    def close(self) -> None:
        """End all that still run."""
        for member in self.running:
            member.kill()

    def _look_at(self, member: Member) -> None:
        code = member.process.returncode if member.started else None
        if code not in (None, 0, -9) and not member.asked_to_end and not (member.excused and code == _SUPERSEDED):
            self.problems.append(f"{member.name} ended by itself with exit code {code}: {last_words([member])}")


def last_words(members: Iterable[Member]) -> str:
    """The ends of their logs."""
    return " || ".join(" | ".join(member.text.splitlines()[-3:])[-900:] for member in members)
