"""The backfills that a config asks for: of collections that were never covered before, and of what a gap concerns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Sequence
from hashlib import sha256
from typing import Any

from mess.capture.coverage import NEVER, Coverage, lookup
from mess.capture.existing import Facts, matching, why_not
from mess.config.model import Config
from mess.config.scope import resolve
from mess.event import Namespace
from mess.relay.gaps import regions_of
from mess.state.backfills import Backfill
from mess.state.store import DeadLetter, Gap, StateStore
from mess.telemetry.logging import get_logger

log = get_logger("mess.relay")

INITIAL = "initial"

Existing = Callable[[Callable[[Namespace], bool]], Coroutine[Any, Any, Sequence[Facts]]]
"""Lists those of the existing collections that the config watches, however long MongoDB takes to answer."""


async def existing(client: Any, config: Config, only: Callable[[Namespace], bool]) -> list[Facts]:
    """Those of the existing collections that the config watches. Raises SourceError."""
    found: dict[Namespace, Facts] = {}
    for db in config.databases:
        found |= {facts.namespace: facts for facts in await matching(client, config, f"{db}.*", only)}
    return list(found.values())


def wants_initial(config: Config) -> bool:
    """Whether `backfill: initial` applies to anything."""
    scopes = [config, *config.databases.values()]
    scopes += [each for database in config.databases.values() for each in database.collections.values()]
    return any(scope.backfill == INITIAL for scope in scopes)


async def add_initial(store: StateStore, config: Config, known: Coverage, existing: Existing) -> None:
    """Add a backfill for each collection with `backfill: initial` that `known`, the coverage map so far, does not
    cover. Called before the new map is stored: one that was added by a start that failed is not added again."""

    def is_new(namespace: Namespace) -> bool:
        options = resolve(config, *namespace)
        return options is not None and options.backfill == INITIAL and lookup(known, namespace) in (None, NEVER)

    for facts in await existing(is_new):
        if reason := why_not(facts):
            log.warning("existing documents are not sent", namespace=str(facts.namespace), reason=reason)
        else:
            await _add(store, facts, INITIAL)


class HealingKeeper:
    """A `Keeper` for `on_history_lost: backfill`: whatever a gap concerns is sent again."""

    def __init__(self, store: StateStore, existing: Existing) -> None:
        self._store = store
        self._existing = existing

    @property
    def known_gaps(self) -> list[Gap]:
        """See `Keeper`."""
        return self._store.known_gaps

    @property
    def closed_gaps(self) -> Collection[str]:
        """See `Keeper`."""
        return self._store.closed_gaps

    async def add_dead_letters(self, letters: Sequence[DeadLetter]) -> None:
        """See `Keeper`."""
        await self._store.add_dead_letters(letters)

    async def record_gap(self, gap: Gap) -> None:
        """See `Keeper`."""
        await self._store.record_gap(gap)
        if gap.kind != "history_lost":
            return
        regions = regions_of(gap.namespaces or ("*.*",))
        for facts in await self._existing(lambda namespace: any(each.contains(namespace) for each in regions)):
            if why_not(facts) is None:
                await _add(self._store, facts, gap.id)

    def defer_gap(self, gap: Gap) -> None:
        """See `Keeper`."""
        self._store.defer_gap(gap)


async def _add(store: StateStore, facts: Facts, origin: str) -> None:
    """Add a backfill, unless one of this origin was added before."""
    text = "\0".join([store.relay, origin, *facts.namespace])
    backfill = Backfill(
        id=f"bf_{sha256(text.encode()).hexdigest()[:12]}",
        namespace=facts.namespace,
        origin=origin,
        created=facts.time,
    )
    if await store.add_backfill(backfill):
        log.info("backfill added", id=backfill.id, namespace=str(facts.namespace), origin=origin)
