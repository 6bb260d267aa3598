"""Wires what replays dead letters: from a config and its state to a `Replayer`."""

from __future__ import annotations

from mess.config.load import Loaded
from mess.config.model import StepSpec
from mess.config.scope import HOOK, pipelines
from mess.relay.build import build_hook, build_step, stage_names
from mess.relay.passage import Route
from mess.relay.replay import Replayer
from mess.state.store import StateStore
from mess.step import Context, Step


def replayer_for(loaded: Loaded, store: StateStore, *, whole: bool = False) -> Replayer:
    """Replays letters of `store`, which is open, through the config's pipelines.

    Raises ConfigError when a step's surroundings do not fit.
    """
    config = loaded.config
    context = Context(config.name, loaded.directory, loaded.tree, loaded.functions)

    def build(step: StepSpec) -> Step:
        if step.name.startswith(HOOK):
            return build_hook(step.name.removeprefix(HOOK), context)
        return build_step(step.name, step.config, config.plugins, context)

    routes = {
        spec.name: Route(spec.name, stage_names(spec.steps), [build(step) for step in spec.steps])
        for spec in pipelines(config)
    }
    return Replayer(store, routes, whole=whole)
