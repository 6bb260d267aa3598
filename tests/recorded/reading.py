"""What a version of MESS understands of its state and its config.

The recording is made with the code of the version that is recorded, so this uses nothing that has changed since.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mess import steps
from mess.capture.plan import plan
from mess.config.load import load
from mess.config.scope import pipelines
from mess.state import DeadLetter, Gap, StateStore

ANYWHERE = {
    "MONGODB_URL": "mongodb://localhost:27017/?replicaSet=rs0",
    "STATE_URL": "sqlite:///state.db",
    "RECEIVER_URL": "http://localhost:8080/hook",
    "REDIS_URL": "redis://localhost:6379/0",
}
"""An environment for configs that nobody runs."""


async def state(store: StateStore) -> dict[str, Any]:
    """Everything in a relay's state."""
    positions = await store.positions()
    letters = [letter for each in await store.pointers() if (letter := await store.dead_letter(each.id))]
    return {
        "epochs": list(await store.epochs()),
        "coverage": positions.coverage,
        "checkpoints": [asdict(each) for each in positions.checkpoints],
        "letters": [_letter(each) for each in letters],
        "gaps": [_gap(each) for each in sorted(await store.gaps(), key=lambda gap: gap.id)],
    }


def _letter(letter: DeadLetter) -> dict[str, Any]:
    newer = ("backfill", "only", "looked_up")
    return {name: value for name, value in asdict(letter).items() if name not in newer}


def _gap(gap: Gap) -> dict[str, Any]:
    fields = ("id", "stream", "since", "until", "reason", "time", "namespaces", "open", "resume")
    return {name: getattr(gap, name) for name in fields}


def meaning(config: Path, environ: Mapping[str, str] = ANYWHERE) -> dict[str, Any]:
    """What a config says: its options, those of its steps, and the change streams that follow from it."""
    loaded = load(config, environ=environ).config
    return {
        "options": loaded.model_dump(mode="json"),
        "pipelines": {
            pipeline.name: [
                steps.config_class(step.name).model_validate(step.config).model_dump(mode="json")
                for step in pipeline.steps
                if step.name in steps.names()
            ]
            for pipeline in pipelines(loaded)
        },
        "streams": [
            {"name": each.name, "database": each.database, "hash": each.hash, "stages": each.stages()}
            for each in plan(loaded)
        ],
    }
