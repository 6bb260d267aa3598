"""Why the relay waits: for each step, pipeline and stream, one sentence that operators can act on."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

from bson import Timestamp

from mess.commands import command
from mess.errors import Ambiguous, DeliveryError, EndpointDown, Refused
from mess.event import Event, commit_time
from mess.options.values import spoken
from mess.relay.lane import Held
from mess.relay.obstacle import Obstacle
from mess.relay.pauses import Pauses
from mess.relay.runner import StreamRunner
from mess.relay.step_runner import StepRunner
from mess.state.pauses import Pause

LONG = 30.0
"""After how many seconds of waiting `/readyz` and the log say why, even if others are delivered."""
SLOW = 1.0
"""After how many seconds without an answer an attempt counts as waiting."""
_UNKNOWN = Timestamp(2**32 - 1, 0)


@dataclass(frozen=True, slots=True)
class Wait:
    """Why something waits: `who` for what (`cause`).

    `since` is when that began, None if unknown. `events` is how many events wait for it, and `oldest` the first of them
    in commit order. `next_attempt` is the time until the next attempt in seconds, None if there is none. `remedy` is
    what would help.
    """

    who: str
    cause: str
    since: datetime | None = None
    events: int = 0
    oldest: Event | None = None
    next_attempt: float | None = None
    remedy: str | None = None

    def lasted(self, seconds: float) -> bool:
        """Whether it is known to have begun so many seconds ago, or earlier."""
        since = self.since
        return since is not None and (datetime.now(timezone.utc) - since).total_seconds() >= seconds

    def age(self, now: float) -> float | None:
        """The time in seconds since the oldest event was committed; `now` is the server's, in seconds since 1970."""
        committed = None if self.oldest is None else commit_time(self.oldest)
        return None if committed is None else max(0.0, now - committed)

    def text(self, now: float) -> str:
        """All of it in a sentence or two."""
        parts = [f"{self.who}: {self.cause}"]
        if self.since is not None:
            parts[0] += f" (for {spoken((datetime.now(timezone.utc) - self.since).total_seconds())})"
        if self.events:
            count = "1 event waits" if self.events == 1 else f"{self.events:,} events wait"
            age = self.age(now)
            oldest = f", the oldest for {spoken(age)}" if age is not None else ""
            name = f" ({self.oldest.id} of {self.oldest.namespace})" if self.oldest is not None else ""
            parts.append(f"{count}{oldest}{name}")
        if self.next_attempt is not None:
            due = f"in {spoken(self.next_attempt)}" if self.next_attempt >= 0.5 else "now"
            parts.append(f"next attempt {due}")
        if self.remedy is not None:
            parts.append(self.remedy)
        return "; ".join(parts)


@dataclass(slots=True)
class Waiting:
    """The unfinished events that wait for one step, and what is known about their delay.

    `began` is when the longest of the attempts that are under way began (`time.monotonic`); `due` is when the next
    failed events are tried again, and `error` why they failed.
    """

    events: int = 0
    oldest: Event | None = None
    began: float | None = None
    due: float | None = None
    error: DeliveryError | None = None
    failing_since: float | None = None

    def add(self, held: Held) -> None:
        """Count these, too."""
        if not held.events:
            return
        self.events += len(held.events)
        first = min(held.events, key=_committed)
        if self.oldest is None or _committed(first) < _committed(self.oldest):
            self.oldest = first
        if (group := held.group) is None:
            self.began = held.began if self.began is None else min(self.began, held.began)
            return
        if not group.waiting:
            self.due = group.due if self.due is None else min(self.due, group.due)
        if self.failing_since is None or group.failing_since < self.failing_since:
            self.failing_since, self.error = group.failing_since, group.error


Place = tuple[str, str]
"""A pipeline and a step of it, by their names."""


@dataclass(frozen=True, slots=True)
class Waits:
    """Why the steps, pipelines and streams of a relay wait, those that do; and the unfinished events by the step that
    they wait for."""

    steps: Mapping[Place, Wait]
    pipelines: Mapping[str, Wait]
    streams: Mapping[str, Wait]
    events: Mapping[Place, Waiting]


def waits(
    runners: Sequence[StreamRunner],
    steps: Sequence[StepRunner],
    pauses: Pauses | None,
    *,
    lapse: Wait | None = None,
    documents: bool = True,
) -> Waits:
    """Find out why a relay waits. Looks at each unfinished event once, so it takes a few milliseconds when windows are
    full. `lapse` is why nothing at all may be delivered. Without `documents`, leave out what may repeat parts of
    documents."""
    events: dict[Place, Waiting] = {}
    oldest_at: dict[str, Place] = {}
    for runner in runners:
        oldest = runner.window.oldest
        for lane in runner.lanes:
            for held in lane.waiting():
                place = (held.pipeline, held.step)
                events.setdefault(place, Waiting()).add(held)
                if oldest is not None and any(event is oldest for event in held.events):
                    oldest_at[runner.name] = place
    found: dict[Place, Wait] = {}
    for step in steps:
        place = (step.pipeline, step.name)
        waiting = events.get(place, Waiting())
        if (wait := _step_wait(step, waiting, pauses, lapse=lapse, documents=documents)) is not None:
            found[place] = wait
    of_pipelines: dict[str, Wait] = {}
    for (pipeline, _), wait in found.items():
        if wait.events and _older(wait, of_pipelines.get(pipeline)):
            of_pipelines[pipeline] = wait
    of_streams = {
        runner.name: wait
        for runner in runners
        if (wait := _stream_wait(runner, pauses, found.get(oldest_at.get(runner.name, ("", ""))))) is not None
    }
    return Waits(steps=found, pipelines=of_pipelines, streams=of_streams, events=events)


def _older(one: Wait, other: Wait | None) -> bool:
    if other is None or other.oldest is None or one.oldest is None:
        return other is None
    return _committed(one.oldest) < _committed(other.oldest)


def _step_wait(
    runner: StepRunner, waiting: Waiting, pauses: Pauses | None, *, lapse: Wait | None, documents: bool
) -> Wait | None:
    """Why events wait for a step, or what will keep it from working once events come; None if it works."""
    pause = None if pauses is None else pauses.of_step(runner.pipeline, runner.name)
    who = f"step {runner.name} of pipeline {runner.pipeline}"
    wait = Wait(who, "", events=waiting.events, oldest=waiting.oldest)
    if pause is not None:
        return replace(wait, cause=_paused(pause), since=pause.since, remedy=_resume(pause))
    if lapse is not None:
        return replace(lapse, who=who, events=wait.events, oldest=wait.oldest) if wait.events else None
    now = time.monotonic()
    found = runner.obstacle
    if found is None and waiting.error is not None:
        what, error = "some events fail while others are delivered: ", waiting.error
        found = Obstacle(f"{what}{error}", waiting.failing_since, waiting.due, error=error, brief=what + error.brief)
    if found is None and waiting.began is not None and (seconds := now - waiting.began) > SLOW:
        found = Obstacle(f"the attempt under way has no result after {spoken(seconds)}")
        remedy = "the sink or function is slow: a larger `concurrency`, or batches, let more events be under way"
        return replace(wait, cause=found.cause, remedy=remedy)
    if found is None:
        return None
    due = found.next_attempt if found.next_attempt is not None else waiting.due
    return replace(
        wait,
        cause=found.cause if documents else found.brief or found.cause,
        since=None if found.since is None else _wall(found.since),
        next_attempt=None if due is None else max(0.0, due - now),
        remedy=_remedy(found),
    )


def _stream_wait(runner: StreamRunner, pauses: Pauses | None, step: Wait | None) -> Wait | None:
    """Why a stream that is connected does not read on; `step` is why the step waits at which its oldest unfinished
    event is. None if it makes progress or has nothing to do."""
    window = runner.window
    who = f"stream {runner.name}"
    pause = None if pauses is None else pauses.of_stream(runner.name)
    if pause is not None:
        return Wait(who, _paused(pause), pause.since, events=len(window), oldest=window.oldest, remedy=_resume(pause))
    since = window.blocked_since
    if since is None or time.monotonic() - since < SLOW or (oldest := window.oldest) is None:
        return None
    state = f"it is full ({window.full})" if window.full else "a drop, rename or dropDatabase waits for earlier events"
    cause = state if step is None else f"{state}; {step.who}: {step.cause}"
    return Wait(
        who,
        cause,
        _wall(since),
        events=len(window),
        oldest=oldest,
        next_attempt=None if step is None else step.next_attempt,
        remedy=None if step is None else step.remedy,
    )


def _committed(event: Event) -> Timestamp:
    found = event.change.get("clusterTime")
    return found if isinstance(found, Timestamp) else _UNKNOWN


def _wall(monotonic: float) -> datetime:
    return datetime.now(timezone.utc) - timedelta(seconds=time.monotonic() - monotonic)


def _paused(pause: Pause) -> str:
    return f"paused by {pause.by}" + (f": {pause.reason}" if pause.reason else "")


def _resume(pause: Pause) -> str:
    return f"`{command(f'resume {pause.target.arguments}')}` continues; MongoDB's oplog keeps the changes meanwhile"


def _remedy(found: Obstacle) -> str | None:
    error = found.error
    status = None if error is None or error.response is None else error.response.status
    if error is None:
        return None
    if status in (401, 403, 407):
        return f"correct the credentials, then `{command('reload')}`, or restart if they are environment variables"
    if status in (404, 410):
        return f"correct the endpoint, then `{command('reload')}`"
    if status == 429:
        return "the sink asks for fewer events: see `rate_limit`"
    if isinstance(error, Ambiguous):
        return f"it is given up after `retry.max_attempts` attempts: `{command('dead-letters list')}` shows it then"
    if isinstance(error, EndpointDown):
        return "delivery continues by itself once the sink is back"
    if isinstance(error, Refused):
        return f"find out why it refuses, correct the config, then `{command('reload')}`"
    return None
