"""The extension point: write a step by deriving from `Transform` or `Sink` and giving it a `StepConfig`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from mess.errors import Ambiguous, BatchError, DeliveryError, Refused
from mess.event import Event
from mess.formats.body import Shape
from mess.formats.template import Template

MINI_BATCH_EVENTS = 500
"""How many events a step is handed at the most."""
MINI_BATCH_BYTES = 1024 * 1024
"""How many bytes of BSON a step is handed at the most; a single larger event comes alone."""
DEFAULT_LANES = 16
"""How many lanes a pipeline has when neither its steps nor the config say otherwise."""


@dataclass(frozen=True, slots=True)
class Context:
    """What a step may know of its surroundings when it is built.

    `relay` is the relay's name, `directory` the folder of the config file (relative paths in a step's config start
    there), `config` the whole config as the user wrote it, with variables expanded, and `functions` the user's own
    functions by name.
    """

    relay: str = "mess"
    directory: Path = field(default_factory=Path.cwd)
    config: Mapping[str, Any] = field(default_factory=dict, repr=False)
    functions: Mapping[str, Callable[..., Any]] = field(default_factory=dict)


class Step(ABC):
    """A stage of a pipeline.

    It is opened and closed once and used by many lanes at a time. It never retries, counts, logs failures or
    dead-letters: the pipeline does that for all steps alike. A step says what happened by what it raises, see
    `mess.errors.DeliveryError`; any other exception counts as `unexpected`.
    """

    max_events: int = MINI_BATCH_EVENTS
    """How many events `process` wants at a time, at the most."""
    lanes: int | None = None
    """How many lanes serve the step best, unless the config says otherwise; None where it makes no difference."""
    carries: Callable[[Event], bool] | None = None
    """Tells which events the step has anything to do for; the others are led past it. None where it has for each."""
    unexpected: type[Ambiguous] | type[Refused] = Refused
    """What an exception that is no DeliveryError means. `Refused` for steps that only compute; `Ambiguous` for sinks,
    where an unforeseen exception may well be the sink's fault, and an outage must not cost events."""
    destination: Callable[[Event], str] | None = None
    """Returns where the step sends an event, as text that identifies the place (a URL, a topic), so that one place that
    is down does not stop deliveries to the others. None if all events go to the same place. Must not raise: where the
    place of an event cannot be determined, it returns an empty text. The text may hold secrets."""

    async def open(self) -> None:  # noqa: B027 - most steps need nothing
        """Get ready to work; called once, before the first `process`."""

    def prepare(self, events: Sequence[Event]) -> None:  # noqa: B027 - most steps have nothing to get ready
        """Get ready for events that are about to come in several calls of `process`; must not raise.

        The same work done for many events at a time costs a fraction of what it does between two requests.
        """

    @abstractmethod
    async def process(self, events: Sequence[Event]) -> Sequence[Event]:
        """Do the step's work on events in order, and return those that go on, in order.

        Raises BatchError when some events failed, another DeliveryError when all did.
        """

    async def check(self) -> str | None:
        """Try whether the step could do its work now, without delivering anything; called after `open`, at any time.

        Returns what was found in a few words (`http://orders.internal answers`), None where there is nothing to try.
        Raises DeliveryError, with the remedy in its message, when it could not. Must not say a secret.
        """
        return None

    async def close(self) -> None:  # noqa: B027 - most steps hold nothing
        """Let go of what `open` took; called once, after the last `process`."""


class Transform(Step):
    """A step that looks at one event at a time, without waiting for anything."""

    @abstractmethod
    def apply(self, event: Event) -> Event | None:
        """Return the event with its body replaced, or as it is; None drops it.

        Must leave the event untouched when it raises.
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


class Sink(Step):
    """A step that delivers events outside and hands on every event it delivered."""

    unexpected = Ambiguous

    @abstractmethod
    async def deliver(self, events: Sequence[Event]) -> None:
        """Deliver the events in order; return when the receiver has confirmed them all.

        Two events of one key must never be on their way unconfirmed at the same time, unless the receiver itself
        keeps their order: a retry would invert them.
        """

    async def process(self, events: Sequence[Event]) -> Sequence[Event]:
        await self.deliver(events)
        return events


class Reading(NamedTuple):
    """A value of the event that a step's options name.

    `option` is where in the options: keys and indexes. `name` is a placeholder's name or a path in the body, and
    `default` whether it has a default. `need` says what happens to an event that lacks the value: it is refused, the
    value is written as nothing, the field is left out, or nothing worth mentioning.
    """

    option: tuple[str | int, ...]
    name: str
    need: Literal["refused", "empty", "left out", "none"]
    default: bool = False


def readings(option: tuple[str | int, ...], text: str, need: Literal["refused", "empty"]) -> Iterator[Reading]:
    """What a template reads that is given as an option."""
    for name, default in Template(text).placeholders:
        yield Reading(option, name, need, default is not None)


class StepConfig(BaseModel):
    """Base of a step's options. Its docstring and its fields' descriptions are the step's documentation."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: ClassVar[str]
    """What users call the step in a pipeline."""
    ignores_unknown: ClassVar[bool] = False
    """Whether options that it does not know are passed over with a warning, instead of being mistakes."""

    def describe(self) -> str:
        """What the step does, in the few words that the relay says at start; must not hold a secret."""
        return self.name

    def named_values(self) -> Iterator[Reading]:
        """The values of an event that the options name, so that misspelt ones are found before any event flows."""
        return iter(())

    def body_after(self, body: Shape | None) -> Shape | None:
        """What the body can be after the step when it is `body` before; None where that is not known."""
        return None

    def warnings(self) -> Iterable[tuple[str, str]]:
        """What these options allow and the user may not want: the path of the option, such as `auth.token_url`, and
        what to say of it, without secrets."""
        return ()

    @abstractmethod
    def build(self, context: Context) -> Step:
        """Make the step. Raises ConfigError when the surroundings do not fit, before anything is started."""
        raise TypeError(f"{type(self).__name__} does not define build")
