"""What the config in force says about streams and pipelines: known once, shown in every answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from mess.admin.api.relay import ApiRelay
from mess.capture.plan import StreamPlan
from mess.config.model import Config
from mess.config.scope import pipelines, resolve
from mess.relay.build import describe_step


@dataclass(frozen=True)
class Layout:
    """Which namespaces streams watch, and which pipelines these take, by the stream's name; which streams feed a
    pipeline, and of each of its steps the kind and a description, by the pipeline's name."""

    config: Config
    plans: Sequence[StreamPlan]
    watches: Mapping[str, Sequence[str]]
    pipelines: Mapping[str, Sequence[str]]
    streams: Mapping[str, Sequence[str]]
    steps: Mapping[str, Sequence[tuple[str, str]]]


_latest: WeakKeyDictionary[ApiRelay, Layout] = WeakKeyDictionary()


def layout(relay: ApiRelay) -> Layout:
    """The layout of a relay. It is made anew only when a config has been put in force or streams have changed, since
    that takes 100 ms with 500 pipelines."""
    config, plans = relay.loaded.config, list(relay.plans)
    known = _latest.get(relay)
    if known is None or known.config is not config or list(map(id, known.plans)) != list(map(id, plans)):
        known = _latest[relay] = _made(config, plans)
    return known


def _made(config: Config, plans: Sequence[StreamPlan]) -> Layout:
    watches: dict[str, list[str]] = {}
    taken: dict[str, set[str]] = {}
    fed: dict[str, set[str]] = {}
    for stream in plans:
        watches[stream.name] = [f"{entry.db}.{entry.coll}" for entry in stream.selection.entries]
        taken[stream.name] = set()
        for entry in stream.selection.entries:
            options = resolve(config, entry.db, entry.coll)
            if options is not None and options.pipeline.steps:
                taken[stream.name].add(options.pipeline.name)
                fed.setdefault(options.pipeline.name, set()).add(stream.name)
    return Layout(
        config,
        plans,
        watches=watches,
        pipelines={name: sorted(found) for name, found in taken.items()},
        streams={name: sorted(found) for name, found in fed.items()},
        steps={
            spec.name: [(step.name, describe_step(step, config.plugins)) for step in spec.steps]
            for spec in pipelines(config)
        },
    )
