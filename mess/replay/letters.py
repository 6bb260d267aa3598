"""Wires up the replay of dead letters (`mess dead-letters replay`): from a config and its state to a `Replayer`."""

from __future__ import annotations

from mess.config.load import Loaded
from mess.config.scope import resolve
from mess.errors import ConfigError
from mess.event import Namespace
from mess.leadership import ALWAYS, Leadership
from mess.relay.build import build_pipelines
from mess.replay.dead_letters import Replayer
from mess.replay.routes import Ways
from mess.state.store import StateStore


def replayer_for(
    loaded: Loaded,
    store: StateStore,
    *,
    whole: bool = False,
    through: str | None = None,
    leadership: Leadership = ALWAYS,
) -> Replayer:
    """A replayer for letters of `store`, which is open, through the config's pipelines; see `Ways` and `Replayer`.

    Raises ConfigError if a step's environment does not fit, or if there is no pipeline `through`.
    """
    steps = build_pipelines(loaded)
    if through is not None and through not in steps:
        raise ConfigError(f"there is no pipeline {through!r}; there are: {', '.join(map(repr, steps))}")

    def pipeline_of(namespace: Namespace) -> str | None:
        options = resolve(loaded.config, *namespace)
        return None if options is None else options.pipeline.name

    names = {name: [step.name for step in built] for name, built in steps.items()}
    ways = Ways(names, pipeline_of, whole=whole, through=through)
    return Replayer(loaded.config, steps, store, ways, leadership=leadership)
