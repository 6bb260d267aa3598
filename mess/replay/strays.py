"""Dead letters whose pipeline or step is no longer in the config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mess.commands import command, quoted
from mess.config.model import Config
from mess.config.scope import pipelines
from mess.errors import StateError
from mess.relay.build import stage_names
from mess.state.open import places_at_rest
from mess.state.store import StateStore
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

Places = Mapping[tuple[str, str], int]
"""The result of `StateStore.dead_letter_places`."""


def strays(config: Config, places: Places) -> Iterator[str]:
    """A warning for each pipeline, and each step, that dead letters stopped at but that is no longer in the config."""
    steps = {spec.name: stage_names(spec.steps) for spec in pipelines(config)}
    gone: dict[tuple[str, str | None], int] = {}
    for (pipeline, step), count in sorted(places.items()):
        # Changes that could not be read belong to no pipeline.
        if pipeline and step not in steps.get(pipeline, ()):
            place = (pipeline, step if pipeline in steps else None)
            gone[place] = gone.get(place, 0) + count
    for (pipeline, missing), count in gone.items():
        option = f"--pipeline {quoted(pipeline)}"
        if missing is None:
            where = f"the pipeline {pipeline!r}, which no event takes any more"
        else:
            where = f"the step {missing!r} of the pipeline {pipeline!r}, which has no such step any more"
            option += f" --step {quoted(missing)}"
        letters = "1 dead letter belongs" if count == 1 else f"{count} dead letters belong"
        dry_run = command(f"dead-letters replay {option} --dry-run")
        yield f"{letters} to {where}; `{dry_run}` shows which way they would go"


async def warn(config: Config, store: StateStore) -> None:
    """Log these warnings for an open store. If they cannot be determined, nothing is logged."""
    try:
        for problem in strays(config, await store.dead_letter_places()):
            log.warning("dead letters without a pipeline", problem=problem)
    except StateError as error:
        log.debug("the dead letters could not be counted", error=str(error))


def at_rest(config: Config) -> list[str]:
    """These warnings, if they need no connection: for state in a file, which is not changed."""
    return list(strays(config, places_at_rest(config.state.url, config.name)))
