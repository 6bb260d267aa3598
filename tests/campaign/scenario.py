"""What happens in one scenario, drawn from its seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from tests.campaign.configs import ConfigMaker
from tests.campaign.endpoints import MOODS

Kind = Literal["configs", "relay", "mongodb", "sinks", "everything"]
KINDS: tuple[Kind, ...] = ("configs", "relay", "mongodb", "sinks", "everything")

SINKS: dict[str, tuple[str, ...]] = {
    "one": ("one",),
    "batch": ("batch",),
    "redis": ("redis",),
    "two": ("one", "batch"),
    "mixed": ("batch", "redis"),
    "apart": ("one", "batch"),
}
"""Destinations of each arrangement of sinks: `one` gets a request for each event, `batch` batches, `redis` is a stream
in Redis. All of them are one pipeline's, except `apart`: there some collections go to the second one only."""


@dataclass(frozen=True)
class Fault:
    """Something that happens `at` a moment (seconds from the start) to `target`, and is over at `until`.

    `target` is `relay`, `mongodb` or a destination. `databases` is the relay's new config, if it gets one. A relay that
    is settled has delivered everything before it is stopped. What happens to the relay waits until it reads MongoDB,
    if that is `patient`; everything later is then later too.
    """

    at: float
    until: float
    target: str
    what: str
    databases: dict[str, Any] | None = None
    patient: bool = True

    def __str__(self) -> str:
        new = "" if self.databases is None else f" {self.databases}"
        return f"{self.at:.1f} to {self.until:.1f} s {self.target} {self.what}{new}"


@dataclass(frozen=True)
class Scenario:
    """One scenario: all of it but the timing follows from the seed."""

    seed: int
    kind: Kind
    prefix: str
    nodes: int
    state: Literal["mongodb", "sqlite"]
    sinks: str
    start: Literal["now", "oldest"]
    seconds: float
    writers: int
    pause: float
    drops: bool
    large: bool
    filters: bool
    json: str
    options: dict[str, Any]
    first: dict[str, Any]
    last: dict[str, Any] | None
    faults: tuple[Fault, ...]

    @property
    def destinations(self) -> tuple[str, ...]:
        """Their names."""
        return SINKS[self.sinks]


def scenario(seed: int, kind: Kind | None = None, sinks: str | None = None) -> Scenario:
    """The scenario of a seed; `kind` and `sinks` are drawn too unless they are given."""
    chance = random.Random(seed)
    drawn = chance.choice(KINDS)
    kind = kind or drawn
    prefix = f"s{seed}-"
    drawn_sinks = "redis" if kind == "sinks" and chance.random() < 0.4 else chance.choice(list(SINKS))
    sinks = sinks or drawn_sinks
    filters = kind in ("configs", "everything") and chance.random() < 0.4
    start: Literal["now", "oldest"] = chance.choice(("now", "now", "oldest"))
    # What others have written before is unknown.
    maker = ConfigMaker(chance, prefix, apart=sinks == "apart", filters=filters, strangers=start == "now")
    seconds = chance.uniform(8, 20)
    state: Literal["mongodb", "sqlite"] = chance.choice(("mongodb", "sqlite"))
    return Scenario(
        seed=seed,
        kind=kind,
        prefix=prefix,
        nodes=3 if kind in ("mongodb", "everything") and chance.random() < 0.4 else 1,
        state=state,
        sinks=sinks,
        start=start,
        seconds=seconds,
        writers=chance.choice((1, 2, 3)),
        pause=chance.choice((0.004, 0.01, 0.03)),
        drops=chance.random() < 0.4,
        large=chance.random() < 0.2,
        filters=filters,
        json=chance.choice(("plain", "plain", "relaxed", "canonical")),
        options=_options(chance),
        first=maker.databases() if kind in ("configs", "everything") else maker.everything(),
        last=maker.everything() if chance.random() < 0.7 else None,
        faults=tuple(sorted(_faults(chance, kind, sinks, state, seconds, maker), key=lambda fault: fault.at)),
    )


def deploys(
    sequence: Sequence[dict[str, Any]], how: str, state: Literal["mongodb", "sqlite"], prefix: str, **options: Any
) -> Scenario:
    """Not a drawn scenario, but a plain one: a relay under load that gets one config (its `databases`) after another,
    each two seconds after it reads MongoDB; `how` it ends before (`stop` or `kill`), or that it does not (`reload`)."""
    first, *others = sequence
    plain = Scenario(
        seed=0,
        kind="configs",
        prefix=prefix,
        nodes=1,
        state=state,
        sinks="one",
        start="now",
        seconds=0,
        writers=2,
        pause=0.02,
        drops=False,
        large=False,
        filters=False,
        json="plain",
        options={},
        first=first,
        last=None,
        faults=tuple(
            Fault(2.0 * number, 2.0 * number + 0.3, "relay", how, databases)
            for number, databases in enumerate(others, 1)
        ),
    )
    return replace(plain, **options)


def _options(chance: random.Random) -> dict[str, Any]:
    """Options of the config's top level."""
    found: dict[str, Any] = {"shutdown_grace": chance.choice(("1s", "7s"))}
    if chance.random() < 0.3:
        found["window"] = {"max_events": chance.choice((5, 50, 500))}
    if chance.random() < 0.3:
        found["concurrency"] = chance.choice((1, 3, 64))
    if chance.random() < 0.3:
        found["checkpoint"] = {"interval": chance.choice(("100ms", "3s"))}
    return found


def _faults(
    chance: random.Random, kind: Kind, sinks: str, state: str, seconds: float, maker: ConfigMaker
) -> list[Fault]:
    found: list[Fault] = []
    if kind == "configs":
        found += _series(
            chance, "relay", ("stop", "settle", "kill", "reload", "reload"), seconds, (0.8, 3), (0, 0.6), maker
        )
    if kind in ("relay", "everything"):
        new = maker if kind == "everything" else None
        # A stopped process keeps the lock of its file, so that nobody can take its place.
        whats = (
            "kill",
            "kill",
            "stop",
            "pause",
            "take over",
            "take over" if state == "sqlite" else "pause and take over",
        )
        found += _series(chance, "relay", whats, seconds, (0.3, 4), (0, 1.5), new)
    if kind in ("mongodb", "everything"):
        found += _series(chance, "mongodb", ("kill", "step down", "pause"), seconds, (2, 7), (0.1, 3), None)
    if kind == "mongodb":
        found += _series(chance, "relay", ("kill", "stop"), seconds, (3, 8), (0, 1), None)
    if kind in ("sinks", "everything"):
        for name in SINKS[sinks]:
            moods = ("kill", "kill", "pause") if name == "redis" else ("closed", *MOODS)
            found += _series(chance, name, moods, seconds, (0.3, 3), (0.5, 5), None)
    if kind == "sinks":
        found += _series(chance, "relay", ("kill", "stop"), seconds, (4, 9), (0, 1), None)
    return found


def _series(
    chance: random.Random,
    target: str,
    kinds: tuple[str, ...],
    seconds: float,
    between: tuple[float, float],
    lasting: tuple[float, float],
    maker: ConfigMaker | None,
) -> list[Fault]:
    """Faults of one target, one after another, until the time is over."""
    found: list[Fault] = []
    at = chance.uniform(*between)
    while at < seconds:
        until = at + chance.uniform(*lasting)
        what = chance.choice(kinds)
        new = maker.databases() if maker is not None and what != "pause" and chance.random() < 0.7 else None
        found.append(Fault(at, until, target, what, new, chance.random() < 0.8))
        at = until + chance.uniform(*between)
    return found
