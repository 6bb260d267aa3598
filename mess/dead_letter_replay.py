"""Wires what replays dead letters (`mess dead-letters replay`): from a config and its state to a `Replayer`."""

from __future__ import annotations

from mess.config.load import Loaded
from mess.relay.build import build_pipelines
from mess.relay.dead_letter_replay import Replayer
from mess.relay.passage import Route
from mess.state.store import StateStore


def replayer_for(loaded: Loaded, store: StateStore, *, whole: bool = False) -> Replayer:
    """Replays letters of `store`, which is open, through the config's pipelines.

    Raises ConfigError when a step's surroundings do not fit.
    """
    routes = {
        name: Route(name, [entry.name for entry in entries], [entry.step for entry in entries])
        for name, entries in build_pipelines(loaded).items()
    }
    return Replayer(store, routes, whole=whole)
