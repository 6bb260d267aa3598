"""The records of pauses: what operators have stopped for now."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Self

from mess.state.records import checked, storable


@dataclass(frozen=True, slots=True)
class Target:
    """What a pause applies to: a `stream`; or a `pipeline`, or only one `step` of it. An empty `pipeline` is the top
    level's."""

    stream: str | None = None
    pipeline: str | None = None
    step: str | None = None

    def __post_init__(self) -> None:
        if (self.stream is None) == (self.pipeline is None) or (self.step is not None and self.pipeline is None):
            raise ValueError("name a stream, or a pipeline, or a pipeline and one of its steps")

    @property
    def id(self) -> str:
        """Its name in the state."""
        parts = ["stream", self.stream] if self.stream is not None else ["pipeline", self.pipeline, self.step]
        return "\n".join(part for part in parts if part is not None)

    @property
    def arguments(self) -> str:
        """The command line's arguments that name it."""
        given = {"--stream": self.stream, "--pipeline": self.pipeline, "--step": self.step}
        return " ".join(f"{name} {shlex.quote(value)}" for name, value in given.items() if value is not None)

    def __str__(self) -> str:
        if self.stream is not None:
            return f"stream {self.stream}"
        return f"pipeline {self.pipeline}" if self.step is None else f"step {self.step} of pipeline {self.pipeline}"


@dataclass(frozen=True, slots=True)
class Pause:
    """An operator's request to let something wait. `since` is to the millisecond; `by` says who asked, in a few words,
    and `reason` why."""

    target: Target
    since: datetime
    by: str
    reason: str | None = None

    @classmethod
    def now(cls, target: Target, by: str, reason: str | None = None) -> Self:
        """A pause that begins now."""
        time = datetime.now(timezone.utc)
        return cls(
            target, time.replace(microsecond=time.microsecond // 1000 * 1000), storable(by), reason and storable(reason)
        )

    def fields(self) -> dict[str, Any]:
        """What the stores keep of it, by name: text, times, or None."""
        target = self.target
        return {
            "stream": target.stream,
            "pipeline": target.pipeline,
            "step": target.step,
            "since": self.since,
            "by": self.by,
            "reason": self.reason,
        }

    @classmethod
    def of_fields(cls, fields: Mapping[str, Any]) -> Self:
        """The inverse of `fields`. Raises KeyError for a missing field, TypeError or ValueError for a wrong one."""
        names = ("stream", "pipeline", "step")
        return cls(
            target=Target(**{name: checked(fields, name, str, type(None)) for name in names}),
            since=checked(fields, "since", datetime),
            by=checked(fields, "by", str),
            reason=checked(fields, "reason", str, type(None)),
        )
