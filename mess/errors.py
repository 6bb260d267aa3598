"""All errors, as one tree; each leaf says what the relay does about it.

MessError
├─ ConfigError(problems)        all mistakes together, each with file:line and path → exit 2
├─ SourceError                  → exit 3
│  ├─ SourceUnavailable         reconnect with backoff, forever; not ready meanwhile
│  ├─ NotAReplicaSet            → exit 3
│  ├─ NotPermitted              → exit 3
│  └─ HistoryLost               the position is no longer in the oplog; the policy decides → exit 4
├─ DeliveryError                raised by steps: an instruction to the pipeline
│  ├─ EndpointDown(retry_after) the sink, not the event, is at fault: pause and retry
│  ├─ Ambiguous                 either may be at fault: retry
│  ├─ Refused                   this event is at fault: `on_failure` decides
│  └─ BatchError(errors)        which events of a mini-batch failed, and how
├─ StateError                   progress or a dead letter cannot be recorded → exit 5
│  ├─ DamagedState              a stored record cannot be decoded → exit 5
│  ├─ Superseded                another process has taken over this relay's name → exit 6
│  └─ NameInUse                 another process with this relay's name does not stop → exit 6
├─ Stopped                      a step with `on_failure: stop` refused an event → exit 7
└─ RelayUnreachable             no relay answers the command line → exit 9
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from mess.event import Event


class MessError(Exception):
    """Base class of every error that MESS raises on purpose. The class's docstring is its default message."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (type(self).__doc__ or "").strip().splitlines()[0])


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a config file.

    `file` and `line` (counted from 1; None if there is no line, as for a missing file) are its place. `path` is the key
    (`databases.shop.pipeline[1].config.endpoint`; empty for the whole file). `message` says what is wrong and how to
    fix it.
    """

    message: str
    path: str = ""
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        place = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        return ": ".join(part for part in (place, self.path, self.message) if part)


class ConfigError(MessError):
    """The configuration is not usable."""

    exit_code = 2

    def __init__(self, problems: Iterable[Problem] | str) -> None:
        if isinstance(problems, str):
            problems = (Problem(problems),)
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class SourceError(MessError):
    """MongoDB cannot be read."""

    exit_code = 3


class SourceUnavailable(SourceError):
    """MongoDB does not answer."""


class NotAReplicaSet(SourceError):
    """MongoDB is no replica set and has no change streams: start mongod with --replSet rs0, run rs.initiate() once."""


class NotPermitted(SourceError):
    """MongoDB refuses the user that the relay connects with."""


class HistoryLost(SourceError):
    """The stored position is no longer in MongoDB's oplog: events after it have been lost to this relay."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class Response:
    """A sink's answer: its status (an HTTP status; None if the protocol has no numbers) and the first KiB of the
    answer."""

    status: int | None = None
    body: str = ""


class DeliveryError(MessError):
    """A step could not process an event.

    `response` is the sink's answer, if there was one; it is stored with the dead letter. `redacted` is whether secrets
    have been removed from both texts, which the pipeline does for every step.
    """

    redacted: bool = False

    def __init__(self, message: str | None = None, *, response: Response | None = None) -> None:
        super().__init__(message)
        self.response = response

    @property
    def brief(self) -> str:
        """What happened, without what the sink or a function said, which may repeat parts of documents."""
        if self.response is not None and self.response.status is not None:
            return f"answered {self.response.status}"
        if self.response is None and isinstance(self, EndpointDown):
            return str(self)  # why it cannot be reached
        return "an attempt failed; the log says why"


class EndpointDown(DeliveryError):
    """The sink is not able to take any event at present.

    `retry_after` is how many seconds the sink asked to wait, if it did. `event_may_be_cause` is true if the event
    itself may cause the failure, as with a 403 from a web application firewall: only then can such failures use up the
    event's attempts. `shared` is true if the failure concerns every destination of the step, such as a lost connection
    to a broker; it makes no difference for steps with a single destination.
    """

    def __init__(
        self,
        message: str | None = None,
        retry_after: float | None = None,
        *,
        response: Response | None = None,
        event_may_be_cause: bool = False,
        shared: bool = False,
    ) -> None:
        super().__init__(message, response=response)
        self.retry_after = retry_after
        self.event_may_be_cause = event_may_be_cause
        self.shared = shared


class Ambiguous(DeliveryError):
    """The step failed, and it does not tell whether the event or the sink is the trouble."""


class Refused(DeliveryError):
    """The sink will never take this event.

    If raised for several events, not inside a BatchError, they were refused together, for example as a batch in one
    request: the pipeline halves the batch until it finds the events at fault. `local` is true if the event cannot even
    be sent, for example because it lacks a value that its target needs: then it says nothing about the sink.
    """

    def __init__(self, message: str | None = None, *, response: Response | None = None, local: bool = False) -> None:
        super().__init__(message, response=response)
        self.local = local


class BatchError(DeliveryError):
    """Some events of a mini-batch failed; all others are done.

    `errors` maps the index of each failed event, in the sequence that the step was given, to its error. Events with the
    same error object failed together, for example as a batch in one request. `untried` holds the events at the end that
    the step did not process: it is given them again. `passed` holds the events that continue to the next step; None
    means all the others.
    """

    def __init__(
        self,
        errors: Mapping[int, Exception],
        passed: Sequence[Event] | None = None,
        untried: Sequence[Event] = (),
    ) -> None:
        super().__init__(f"{len(errors)} events failed")
        self.errors = dict(errors)
        self.passed = passed
        self.untried = untried


class StateError(MessError):
    """Progress or a dead letter cannot be recorded, so the relay must not go on."""

    exit_code = 5


class DamagedState(StateError):
    """A record of the relay's state cannot be understood."""


class Superseded(StateError):
    """Another process has taken over this relay's name."""

    exit_code = 6


class NameInUse(StateError):
    """Another process runs under this relay's name."""

    exit_code = 6


class Stopped(MessError):
    """A step with `on_failure: stop` refused an event."""

    exit_code = 7


class RelayUnreachable(MessError):
    """No relay answers at this address."""

    exit_code = 9
