"""What all kinds of several processes have judged in the end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from tests.campaign.processes.group import Group
from tests.campaign.processes.recorder import Recorder
from tests.campaign.writers import Writer
from tests.checker.committed import Change, CommittedChanges
from tests.checker.processes import Silence, check_epochs, check_silences
from tests.checker.verdict import Verdict, judge, must_all_arrive

_DRAIN_SECONDS = 60.0
_BAD_WORDS = ("Traceback (most recent call last)", "never awaited")


async def drained(committed: CommittedChanges, recorder: Recorder, database: str) -> list[Change]:
    """All changes of a database, as soon as they have arrived, or had the time to."""
    await asyncio.to_thread(committed.catch_up)
    changes = [change for change in committed.changes if change.db == database]
    deadline = time.monotonic() + _DRAIN_SECONDS
    ids = [change.id for change in changes]
    while time.monotonic() < deadline and not recorder.ids.issuperset(ids):  # noqa: ASYNC110 - and then no more
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.5)
    return changes


def judged(
    recorder: Recorder,
    changes: Sequence[Change],
    group: Group,
    writers: Sequence[Writer],
    silences: Sequence[Silence],
    *,
    justified: int | None,
    letters: Sequence[str] = (),
) -> Verdict:
    """Whether every promise was kept; with `justified` None, processes have no epochs."""
    verdict = judge(
        changes,
        must_all_arrive(changes),
        {"": recorder.arrivals},
        dead_letters=letters,
        refused=recorder.refused,
    )
    if justified is not None:
        check_epochs(recorder.deliveries, verdict, justified=justified)
    check_silences(recorder.deliveries, silences, verdict)
    marks = {change.mark for change in changes}
    for writer in writers:
        if lost := writer.acknowledged - marks:
            verdict.problems["acknowledged writes that the checker has not seen"].append(str(sorted(lost)[:5]))
    for problem in group.problems:
        verdict.problems["the processes"].append(problem)
    for member in group.members:
        text = member.text
        for word in _BAD_WORDS:
            if (at := text.find(word)) >= 0:
                verdict.problems[f"{member.name}'s log"].append(text[max(0, at - 300) : at + 1500])
    return verdict
