"""Wires what replays dead letters: from a config and its state to a `Replayer`."""

from __future__ import annotations

from mess.config.load import Loaded
from mess.relay.build import build_pipelines, stage_names
from mess.relay.passage import Route
from mess.relay.replay import Replayer
from mess.state.store import StateStore


def replayer_for(loaded: Loaded, store: StateStore, *, whole: bool = False) -> Replayer:
    """Replays letters of `store`, which is open, through the config's pipelines.

    Raises ConfigError when a step's surroundings do not fit.
    """
    routes = {
        name: Route(name, stage_names([spec for spec, _ in entries]), [step for _, step in entries])
        for name, entries in build_pipelines(loaded).items()
    }
    return Replayer(store, routes, whole=whole)
