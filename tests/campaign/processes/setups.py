"""Where standbys live, and what can happen to them there."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

LEASE = 1.0

FAULTS: dict[str, int] = {
    "kill": 1,
    "kill again": 2,
    "kill standby": 0,
    "stop": 1,
    "stop standby": 0,
    "freeze": 1,
    "store pause": 1,
    "store kill": 1,
    "cut": 1,
    "cut standby": 0,
    "primary step down": 1,
    "primary kill": 1,
    "primary pause": 1,
}
"""How many takeovers each justifies."""


@dataclass(frozen=True)
class Setup:
    """Servers and processes of a scenario.

    `state` is where it is kept: in MongoDB, in another one, or in a file. With `clocks`, the processes' clocks are an
    hour apart; with `network`, each is in a network namespace; with `hosts`, they take themselves for processes of
    different hosts, so that nobody can know that another has ended.
    """

    faults: tuple[str, ...]
    members: int = 2
    nodes: int = 1
    state: Literal["mongodb", "separate", "sqlite"] = "mongodb"
    clocks: bool = False
    hosts: bool = False
    network: bool = False


SETUPS: dict[str, Setup] = {
    "plain": Setup(("kill", "freeze", "stop", "kill standby", "stop standby", "store pause")),
    "hosts": Setup(("kill", "kill", "freeze", "stop"), hosts=True),
    "three": Setup(("kill again", "kill again", "freeze", "kill"), members=3, hosts=True),
    "store": Setup(("store pause", "store kill", "kill"), state="separate"),
    "clocks": Setup(("kill", "freeze", "stop"), clocks=True, hosts=True),
    "cut": Setup(("cut", "cut", "cut standby"), network=True),
    "elections": Setup(("primary step down", "primary kill", "primary pause", "kill"), nodes=3, hosts=True),
    "sqlite": Setup(("kill", "freeze", "stop", "kill standby"), state="sqlite"),
}


@dataclass(frozen=True)
class StandbyScenario:
    """One scenario: all of it but the timing follows from the seed."""

    seed: int
    name: str
    setup: Setup
    faults: tuple[str, ...]
    batch: bool
    drops: bool
    pause: float

    @property
    def prefix(self) -> str:
        """Begins the names of all databases."""
        return f"p{self.seed}-"

    def __str__(self) -> str:
        batch = ", batches" if self.batch else ""
        return f"standby {self.name}{batch}{', drops' if self.drops else ''}: {', '.join(self.faults)}"


def standby_scenario(
    seed: int, name: str | None = None, fault: str | None = None, rounds: int = 8, *, namespaces: bool = True
) -> StandbyScenario:
    """The scenario of a seed; with a `name`, in this setup, and with a `fault`, this one only. Without
    `namespaces`, none that needs them."""
    chance = random.Random(seed)
    possible = [
        key
        for key, setup in SETUPS.items()
        if (namespaces or not (setup.network or setup.hosts)) and (fault is None or fault in setup.faults)
    ]
    name = name or chance.choice(possible)
    setup = SETUPS[name]
    return StandbyScenario(
        seed=seed,
        name=name,
        setup=setup,
        faults=tuple(fault or chance.choice(setup.faults) for _ in range(rounds)),
        batch=chance.random() < 0.3,
        drops=chance.random() < 0.2,
        pause=chance.choice((0.04, 0.1)),
    )
