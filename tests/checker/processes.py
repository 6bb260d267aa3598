"""Judges deliveries of several processes with one relay name: one process at a time, and never a step back.

All times are those of the receiver's machine, in seconds since the epoch. What counts is when the first byte of a
request was read: a process that was frozen or cut off may have had requests on their way, which arrived before.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.checker.committed import Change
from tests.checker.verdict import Arrival, Verdict


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event of one request. `document` tells documents apart, `process` is the one that sent it, and `epoch` what
    it called its epoch, 0 if nothing. The first byte of the request was read at `began`, its last one at `time`, and it
    is answered at `answered`.
    """

    arrival: Arrival
    document: Any
    process: str
    epoch: int
    began: float
    time: float
    answered: float


@dataclass
class Silence:
    """A time in which no request of `process` may begin, None: of any process; `why` says so in words. `back` is when,
    after that, it got work again."""

    process: str | None
    since: float
    until: float = math.inf
    why: str = "frozen"
    back: float = math.inf

    def broken_by(self, delivery: Delivery) -> bool:
        """Whether this delivery should not have been."""
        return self.process in (None, delivery.process) and self.since < delivery.began < self.until


@dataclass
class Epochs:
    """What the deliveries say about who was active: the processes by epoch, the time of each epoch's first delivery,
    and how many events of an earlier epoch were still unanswered when the next began."""

    processes: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    first: dict[int, float] = field(default_factory=dict)
    in_flight: int = 0

    @property
    def takeovers(self) -> int:
        """How often a process became active, the first time not counted."""
        return max(0, len(self.first) - 1)


def check_epochs(deliveries: Iterable[Delivery], verdict: Verdict, *, justified: int | None = None) -> Epochs:
    """Add to a verdict: deliveries without an epoch, epochs of two processes, requests that began after the first one
    of a later epoch, and takeovers that no fault justifies, if at most so many are `justified`."""
    found = Epochs()
    by_begin = sorted(deliveries, key=lambda each: each.began)
    newest: Delivery | None = None
    of_document: dict[Any, Delivery] = {}
    for each in by_begin:
        if not each.epoch:
            verdict.problems["no mess-epoch"].append(_text(each))
            continue
        found.processes[each.epoch].add(each.process)
        found.first.setdefault(each.epoch, each.began)
        before = of_document.get(each.document)
        if before is not None and before.epoch > each.epoch:
            verdict.problems["mess-epoch goes back for a document"].append(f"{_text(each)} after {_text(before)}")
        elif newest is not None and newest.epoch > each.epoch:
            verdict.problems["two processes deliver at a time"].append(f"{_text(each)} after {_text(newest)}")
        if before is None or each.epoch >= before.epoch:
            of_document[each.document] = each
        if newest is None or each.epoch > newest.epoch:
            newest = each
    for epoch, processes in found.processes.items():
        if len(processes) > 1:
            verdict.problems["one epoch, two processes"].append(f"{epoch}: {sorted(processes)}")
    for each in by_begin:
        later = min((first for epoch, first in found.first.items() if epoch > each.epoch), default=math.inf)
        found.in_flight += each.epoch > 0 and each.began < later <= each.answered
    if justified is not None and found.takeovers > justified:
        verdict.problems["flapping"].append(f"{found.takeovers} takeovers, {justified} had a reason: {found.first}")
    return found


def check_silences(deliveries: Iterable[Delivery], silences: Sequence[Silence], verdict: Verdict) -> None:
    """Add to a verdict what was sent while nothing should have been."""
    for each in deliveries:
        for silence in silences:
            if silence.broken_by(each):
                late = each.began - silence.since
                verdict.problems["sent when silent"].append(f"{_text(each)}, {late:.3f} s late: {silence.why}")


def check_thawed(
    deliveries: Sequence[Delivery],
    frozen: Sequence[Silence],
    changes: Iterable[Change],
    verdict: Verdict,
    seconds: float = 3.0,
) -> None:
    """Add to a verdict what a process sent after it was frozen for so long that others took its work, and what they had
    delivered before: for deliveries that carry no epoch, if nothing but the freezing happened meanwhile.

    Each of `frozen` ends when the process went on; looked at are so many `seconds` after that, at most until it got
    work again: that begins with the last offset that was committed, and may repeat what follows it.
    """
    numbers = {change.id: change.number for change in changes}
    for freeze in frozen:
        newest: dict[Any, int] = {}
        for each in sorted(deliveries, key=lambda each: each.began):
            number = numbers.get(each.arrival.id)
            if number is None or not freeze.since < each.began < freeze.until + seconds:
                continue
            if each.process != freeze.process:
                newest[each.document] = max(number, newest.get(each.document, -1))
            elif freeze.until <= each.began < freeze.back and number <= newest.get(each.document, -1):
                late = each.began - freeze.until
                verdict.problems["delivered again by a zombie"].append(f"{_text(each)}, {late:.3f} s after it went on")


def _text(each: Delivery) -> str:
    return f"{each.process} epoch {each.epoch} at {each.began:.3f} {each.arrival.content or each.arrival.id}"
