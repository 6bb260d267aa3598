"""What has changed between two configs, and what that means for a relay that runs. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from mess.capture.connection_string import ConnectionString
from mess.capture.plan import StreamPlan
from mess.config.load import Loaded
from mess.config.model import Config, Scope
from mess.config.scope import PipelineSpec, is_glob, ordering_values, pipelines, resolve
from mess.relay.identity import identity
from mess.state.open import in_mongodb

_REFUSED = ("name", "state", "admin", "mongodb", "source")
"""What cannot be changed while a relay runs, with everything below it, except for what is in `_LIVE`, and for what URLs
say besides the servers, such as the password."""
_LIVE = ("checkpoint", "log", "shutdown_grace", "start", "state.retention")
"""What takes effect at once. Everything else does at the next start."""
_MANY = 10
_OF_SCOPES = frozenset({*Scope.model_fields, "databases", "plugins", "show_expanded_events"})
"""What determines the streams, the pipelines and the way to them."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed.

    `refused` are options that cannot be changed while the relay runs, `later` those that take effect at the next start,
    `live` those that take effect now. Pipelines are given by name: those that are `added`, `removed`, to be `replaced`,
    and `kept`. `streams` are the names of streams whose plans differ. `connections` are the URLs among `live`. `events`
    is whether anything has changed that events depend on.
    """

    refused: tuple[str, ...] = ()
    later: tuple[str, ...] = ()
    live: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    connections: tuple[str, ...] = ()
    events: bool = False

    @property
    def nothing(self) -> bool:
        """Whether the configs say the same."""
        return (
            not (self.refused or self.later or self.live or self.added or self.removed or self.replaced or self.streams)
            and not self.events
        )


def compare(
    old: Loaded,
    new: Loaded,
    plans: tuple[Collection[StreamPlan], Collection[StreamPlan]],
    *,
    identities: Mapping[str, tuple[str, ...]],
    divided: Collection[str],
) -> Changes:
    """What has changed from one config to another.

    `plans` are the streams of both, and `divided` the names of those of which a part is read on its own at present.
    `identities` are those of the steps of the pipelines in use, by name.
    """
    different = list(differences(old.config, new.config))
    outside = [path for path in different if path.partition(".")[0] not in _OF_SCOPES]
    urls = {path for path in ("mongodb.url", "state.url") if path in outside and _same_servers(path, old, new)}
    live = [path for path in outside if _is_in(path, (*_LIVE, *urls))]
    refused = [path for path in outside if _is_in(path, _REFUSED) and path not in live]
    later = [path for path in outside if path not in (*live, *refused)]
    before, after = _specs(old.config), _specs(new.config)
    streams = _streams(plans, divided)
    if ordering_values(old.config) != ordering_values(new.config):
        streams = {plan.name: plan for each in plans for plan in each}
    touched = (
        _rerouted(old.config, new.config) | _used(streams.values(), old.config) | _used(streams.values(), new.config)
    )
    changed = [
        name
        for name, spec in after.items()
        if name in before
        and (
            name in touched
            or spec.steps != before[name].steps
            or tuple(identity(step, new) for step in spec.steps) != identities.get(name)
        )
    ]
    return Changes(
        refused=tuple(refused),
        later=tuple(later),
        live=tuple(live),
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        replaced=tuple(changed),
        kept=tuple(name for name in after if name in before and name not in changed),
        streams=tuple(streams),
        connections=tuple(path for path in live if path in urls),
        events=len(different) > len(outside),
    )


def differences(old: BaseModel, new: BaseModel, path: str = "") -> Iterator[str]:
    """The paths of the options that differ."""
    for name in type(old).model_fields:
        one, other = getattr(old, name), getattr(new, name)
        if isinstance(one, BaseModel) and type(one) is type(other):
            yield from differences(one, other, f"{path}{name}.")
        elif one != other:
            yield f"{path}{name}"


def in_force(old: Config, new: Config, later: Collection[str]) -> Config:
    """The new config, with the values of the old one for what takes effect at the next start."""
    sections = {path.partition(".")[0] for path in later}
    return new.model_copy(update={name: getattr(old, name) for name in sections})


def _is_in(path: str, sections: Collection[str]) -> bool:
    return any(path == section or path.startswith(f"{section}.") for section in sections)


def _same_servers(path: str, old: Loaded, new: Loaded) -> bool:
    urls = [each.config.mongodb.url if path == "mongodb.url" else each.config.state.url for each in (old, new)]
    one, other = (None if url is None or not in_mongodb(url) else ConnectionString(url) for url in urls)
    return one is not None and other is not None and (one.is_srv, one.hosts) == (other.is_srv, other.hosts)


def _specs(config: Config) -> dict[str, PipelineSpec]:
    return {spec.name: spec for spec in pipelines(config)}


def _streams(
    plans: tuple[Collection[StreamPlan], Collection[StreamPlan]], divided: Collection[str]
) -> dict[str, StreamPlan]:
    """The streams that differ. If any does, so does each that is divided at present: its parts are arranged anew."""
    known, wanted = ({plan.name: plan for plan in each} for each in plans)
    every = {**known, **wanted}
    different = {name for name in every if known.get(name) != wanted.get(name)}
    return {name: plan for name, plan in every.items() if different and (name in different or name in divided)}


def _used(streams: Iterable[StreamPlan], config: Config) -> set[str]:
    """The pipelines that the events of these streams may take."""
    databases = {stream.database for stream in streams}
    ways = _ways(config)
    return {way[1] for db in ways if (None if is_glob(db) else db) in databases for way in ways[db]}


def _rerouted(old: Config, new: Config) -> set[str]:
    """The pipelines of databases whose events take another pipeline than before, or keep another order."""
    before, after = _ways(old), _ways(new)
    found: set[str] = set()
    for db in {**before, **after}:
        if before.get(db) != after.get(db):
            found.update(way[1] for ways in (before, after) for way in ways.get(db, ()))
    return found


def _ways(config: Config) -> dict[str, list[tuple[str, str, Any, int | None]]]:
    found: dict[str, list[tuple[str, str, Any, int | None]]] = {}
    for db, database in config.databases.items():
        ways = found[db] = []
        for coll in ("", *(database.collections or ("*",))):
            options = resolve(config, db, coll)
            if options is not None:
                ways.append((coll, options.pipeline.name, options.order, options.concurrency))
    return found


def told(changes: Changes, late: int) -> list[str]:
    """What was changed, in words. `late` is how many deliveries were cancelled."""
    lines: list[str] = []
    for what, names in (
        ("replaced", changes.replaced),
        ("added", changes.added),
        ("removed", changes.removed),
        ("kept", changes.kept),
    ):
        if names:
            lines.append(f"{what} {_named('pipeline', names)}")
    if changes.streams:
        lines.append(f"arranged {_named('stream', changes.streams)} anew")
    lines += [f"applied {option}" for option in changes.live]
    lines += [f"{option} takes effect at the next start" for option in changes.later]
    if late:
        deliveries = "1 delivery" if late == 1 else f"{late} deliveries"
        lines.append(f"{deliveries} took longer than shutdown_grace: cancelled, and being repeated")
    return lines


def _named(what: str, names: Sequence[str]) -> str:
    if len(names) > _MANY:
        return f"{len(names)} {what}s"
    return f"{what}{'s' if len(names) > 1 else ''} {', '.join(names)}"
