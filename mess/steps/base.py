"""The extension point: to write a step, derive from `Transform` or `Sink` and give it a `StepConfig`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import ModelWrapValidatorHandler, model_validator

from mess.errors import Ambiguous, BatchError, DeliveryError, Refused
from mess.event import Event
from mess.formats.body import Shape
from mess.formats.template import Template
from mess.leadership import ALWAYS, Leadership
from mess.options.base import Options
from mess.options.sections import for_options

MINI_BATCH_EVENTS = 500
"""The maximum number of events in one call of a step."""
MINI_BATCH_BYTES = 1024 * 1024
"""The maximum size of one call's events in bytes of BSON; a larger event comes alone."""
DEFAULT_LANES = 16
"""The number of lanes of a pipeline if neither its steps nor the config set it."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a step is given when it is built.

    `relay` is the relay's name. `directory` is the folder of the config file; relative paths in a step's config start
    there. `config` is the whole config as the user wrote it, with variables expanded. `functions` holds the user's
    functions by name.
    """

    relay: str = "mess"
    directory: Path = field(default_factory=Path.cwd)
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)


class Step(ABC):
    """A stage of a pipeline.

    It is opened and closed once, and used by many lanes concurrently. It never retries, counts, logs failures or writes
    dead letters: the pipeline does that for all steps. A step reports failures by raising a
    `mess.errors.DeliveryError`; any other exception is interpreted as `unexpected`.
    """

    max_events: int = MINI_BATCH_EVENTS
    """The maximum number of events that `process` wants in one call."""
    lanes: int | None = None
    """The number of lanes that suits the step best, unless the config sets it; None if it makes no difference."""
    carries: Callable[[Event], bool] | None = None
    """Returns whether the step has work to do for an event; other events bypass the step. None if it handles every
    event."""
    unexpected: type[Ambiguous] | type[Refused] = Refused
    """How to interpret an exception that is not a DeliveryError. Use `Refused` for steps that only compute. Use
    `Ambiguous` for sinks: an unforeseen exception may well be the sink's fault, and an outage must not cost events."""
    destination: Callable[[Event], str] | None = None
    """Returns where the step sends an event, as a text that identifies the place (a URL, a topic), so that one place
    that is down does not stop deliveries to the others. None if all events go to the same place.

    Must not raise: if the place cannot be determined, it returns an empty text. The text may contain secrets.
    """

    leadership: Leadership = ALWAYS
    """Whether this process may deliver. Before each call of `process` the pipeline looks at it. A sink calls its
    `check` before each request that it sends later than that: after waiting for a connection or a token, or when it
    sends several in turn. Its `epoch` goes along with every request or message, as `mess-epoch`, unless it is 0. Set
    before `open`."""

    async def open(self) -> None:  # noqa: B027 - most steps need nothing
        """Acquire resources; called once, before the first `process`."""

    def prepare(self, events: Sequence[Event]) -> None:  # noqa: B027 - most steps have nothing to get ready
        """Prepare events that are about to arrive in several calls of `process`; must not raise.

        Doing the same work for many events at once costs a fraction of doing it between requests.
        """

    @abstractmethod
    async def process(self, events: Sequence[Event]) -> Sequence[Event]:
        """Process events in order, and return those that continue, in order.

        Raises BatchError if some events failed, another DeliveryError if all did.
        """

    async def check(self) -> str | None:
        """Check whether the step could work now, without delivering anything; may be called at any time after `open`.

        Returns the result in a few words (`http://orders.internal answers`), or None if there is nothing to check.
        Raises DeliveryError, with the remedy in its message, if the step could not work. Must not reveal secrets.
        """
        return None

    async def close(self) -> None:  # noqa: B027 - most steps hold nothing
        """Release resources; called once, after the last `process`."""


class Transform(Step):
    """A step that handles one event at a time and never waits."""

    @abstractmethod
    def apply(self, event: Event) -> Event | None:
        """Return the event, with or without a new body; None drops it.

        Must leave the event unchanged if it raises.
        """

    async def process(self, events: Sequence[Event]) -> Sequence[Event]:
        passed: list[Event] = []
        errors: dict[int, Exception] = {}
        apply = self.apply
        for index, event in enumerate(events):
            try:
                result = apply(event)
            except DeliveryError as error:
                errors[index] = error
            except Exception as error:
                refused = Refused(f"{type(error).__name__}: {error}")
                refused.__cause__ = error
                errors[index] = refused
            else:
                if result is not None:
                    passed.append(result)
        if errors:
            raise BatchError(errors, passed)
        return passed


@dataclass(frozen=True, slots=True)
class Preview:
    """What a sink would send for an event.

    `address` says where to: a `url`, or a `target` and a `key`. `headers` lacks those that carry credentials, and those
    that differ each time. `varying` is as in `mess.formats.base.Envelope`.
    """

    body: bytes
    address: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    varying: Sequence[str] = ()


class Sink(Step):
    """A step that delivers events to the outside and passes on every event it delivered."""

    unexpected = Ambiguous

    @abstractmethod
    async def deliver(self, events: Sequence[Event]) -> None:
        """Deliver the events in order; return when the receiver has confirmed all of them.

        Two events with the same key must never be unconfirmed at the same time, unless the receiver itself preserves
        their order: a retry would reverse them.
        """

    def preview(self, event: Event) -> Preview | None:
        """What the step would send for an event if it had it alone; None if the step cannot say. Needs no `open`, and
        connects to nothing.

        Raises Refused, as `deliver` would, for an event that cannot be sent.
        """
        return None

    def span_attributes(self, events: Sequence[Event]) -> Mapping[str, str | int]:
        """What a trace says about the delivery of these events, by the names of OpenTelemetry's semantic conventions.
        Called only if deliveries are traced.

        While `deliver` runs, `mess.telemetry.attempts.current` holds the headers to be sent along.
        """
        return {}

    async def process(self, events: Sequence[Event]) -> Sequence[Event]:
        await self.deliver(events)
        return events


class Reading(NamedTuple):
    """A value of the event that a step's options refer to.

    `option` is the path within the options: keys and indexes. `name` is a placeholder's name or a path in the body, and
    `default` whether it has a default. `need` is what happens if an event lacks the value: the event is refused, the
    value is left empty, the field is omitted, an expression cannot be evaluated and the event is refused, or nothing
    worth mentioning.
    """

    option: tuple[str | int, ...]
    name: str
    need: Literal["refused", "empty", "left out", "error", "none"]
    default: bool = False


def readings(option: tuple[str | int, ...], text: str, need: Literal["refused", "empty"]) -> Iterator[Reading]:
    """The values that a template in an option reads."""
    for name, default in Template(text).placeholders:
        yield Reading(option=option, name=name, need=need, default=default is not None)


class StepConfig(Options):
    """Base class of a step's options. Its docstring and its field descriptions are the step's documentation."""

    name: ClassVar[str]
    """The step's name in a pipeline."""
    ignores_unknown: ClassVar[bool] = False
    """Whether unknown options are ignored with a warning instead of being mistakes."""

    @model_validator(mode="wrap")
    @classmethod
    def _with_installed(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Options may select what installed packages add, which has options of its own."""
        model = for_options(cls, value)
        return handler(value) if model is cls else model.model_validate(value)

    def describe(self) -> str:
        """Describe the step in a few words for the log at startup; must not reveal secrets."""
        return self.name

    def named_values(self) -> Iterator[Reading]:
        """The event values that the options refer to, so that misspelled ones are found before any event flows."""
        return iter(())

    def body_after(self, body: Shape | None) -> Shape | None:
        """The possible shape of the body after the step, given its shape before; None if unknown."""
        return None

    def warnings(self) -> Iterable[tuple[str, str]]:
        """Warnings about options that are allowed but possibly unwanted: the option's path, such as `auth.token_url`,
        and the message, without secrets."""
        return ()

    @abstractmethod
    def build(self, context: Context) -> Step:
        """Build the step. Raises ConfigError if the environment does not fit, before anything is started."""
        raise TypeError(f"{type(self).__name__} does not define build")
