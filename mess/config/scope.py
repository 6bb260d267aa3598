"""Resolves options for a namespace. Collection options override database options, which override top-level options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any, TypeVar

from mess.config.exclude import minimal
from mess.config.model import CollectionScope, Config, DatabaseScope, Order, OrderBy, Scope, StepSpec
from mess.config.operations import KNOWN, OF_A_DATABASE

HOOK = "changeHook "
"""Prefix of a step's name where a hook replaces a pipeline; the function's reference follows."""

TOP_LEVEL = "top level"
"""The name of the top-level pipeline; no database name can contain a space."""

DEFAULTS: Mapping[str, Any] = {
    "pipeline": (),
    "change_hook": None,
    "operations": None,
    "match": None,
    "full_document": "update_lookup",
    "full_document_before_change": "off",
    "backfill": "never",
    "exclude": (),
    "order": "document",
    "concurrency": None,
}
"""The value of each scoped option where no scope sets it."""

T = TypeVar("T")


@lru_cache(maxsize=10_000)
def is_glob(name: str) -> bool:
    """Whether a database or collection name in the config is a glob."""
    return any(character in name for character in "*?[")


@dataclass(frozen=True, slots=True)
class PipelineSpec:
    """A pipeline as configured.

    `name` is the scope where it is written (`top level`, `shop`, `shop.orders`). A `changeHook` is a pipeline of one
    step whose name begins with `HOOK`.
    """

    name: str
    steps: tuple[StepSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolved:
    """The effective value of every scoped option for one namespace.

    `operations` is None if all are wanted. `full_document` is never `exact`, but what that stands for. `exclude` is as
    `mess.config.exclude.minimal` gives it.
    """

    pipeline: PipelineSpec
    operations: tuple[str, ...] | None
    match: dict[str, Any] | None
    full_document: str
    full_document_before_change: str
    exclude: tuple[str, ...]
    order: Order
    concurrency: int | None
    backfill: str


def database_scope(config: Config, db: str) -> tuple[str, DatabaseScope] | None:
    """The entry of `databases` that applies to a database: its exact name, else the first glob that matches."""
    return _entry(config.databases, db)


def collection_scope(database: DatabaseScope, coll: str) -> tuple[str, CollectionScope] | None:
    """The entry of `collections` that applies to a collection; an empty `collections` includes all of them."""
    if not database.collections:
        return "*", CollectionScope()
    return _entry(database.collections, coll)


def resolve(config: Config, db: str, coll: str = "") -> Resolved | None:
    """The options for a namespace, or None if the config does not select it.

    Without `coll`, the options for events of the whole database (dropDatabase).
    """
    database = database_scope(config, db)
    if database is None:
        return None
    scopes: list[tuple[str, Scope]] = [(TOP_LEVEL, config), database]
    if coll:
        collection = collection_scope(database[1], coll)
        if collection is None:
            return None
        scopes.append((f"{database[0]}.{collection[0]}", collection[1]))
    return _merge(scopes[::-1])


def pipeline_of(config: Config, namespace: tuple[str, str]) -> str | None:
    """The pipeline of a namespace's events; None if the config does not select it."""
    options = resolve(config, *namespace)
    return None if options is None else options.pipeline.name


def orders_by_value(config: Config) -> bool:
    """Whether the events of some scope keep their order by the values of a field."""
    return bool(ordering_values(config))


def ordering_values(config: Config) -> set[str]:
    """The paths of the values by which events of some scope keep their order."""
    scopes: list[Scope] = [config]
    for database in config.databases.values():
        scopes += [database, *database.collections.values()]
    return {scope.order.by for scope in scopes if isinstance(scope.order, OrderBy)}


def pipelines(config: Config) -> list[PipelineSpec]:
    """All pipelines that events may take, without duplicates and without pipelines that have no steps."""
    found: dict[str, PipelineSpec] = {}
    for db, database in config.databases.items():
        for coll in ("", *(database.collections or ("*",))):
            # An entry's key represents every name that it applies to, globs included.
            options = resolve(config, db, coll)
            if options is not None and options.pipeline.steps and (coll or _wants_database_events(options)):
                found.setdefault(options.pipeline.name, options.pipeline)
    return list(found.values())


def _wants_database_events(options: Resolved) -> bool:
    """Whether events of a whole database are wanted, going by the operations."""
    of_collections = {*KNOWN} - {OF_A_DATABASE}
    return options.operations is None or not of_collections.issuperset(options.operations)


def _entry(entries: dict[str, T], name: str) -> tuple[str, T] | None:
    if name in entries:
        return name, entries[name]
    return next(((key, scope) for key, scope in entries.items() if is_glob(key) and fnmatchcase(name, key)), None)


def _merge(scopes: list[tuple[str, Scope]]) -> Resolved:
    def inherited(option: str) -> tuple[str, Any]:
        return next(
            ((name, value) for name, scope in scopes if (value := getattr(scope, option)) is not None), ("", None)
        )

    def pick(option: str) -> Any:
        value = inherited(option)[1]
        return DEFAULTS[option] if value is None else value

    full_document = pick("full_document")
    # As in the Node.js tool, a hook at any scope replaces every pipeline.
    name, hook = inherited("change_hook")
    if hook is not None:
        pipeline = PipelineSpec(name, (StepSpec(name=HOOK + hook),))
    else:
        name, steps = inherited("pipeline")
        pipeline = PipelineSpec(name or TOP_LEVEL, steps or ())
    return Resolved(
        pipeline=pipeline,
        operations=pick("operations"),
        match=pick("match"),
        # One stream serves both; streams of existing configs keep their names.
        full_document="when_available" if full_document == "exact" else full_document,
        full_document_before_change=pick("full_document_before_change"),
        exclude=minimal(pick("exclude")),
        order=pick("order"),
        concurrency=pick("concurrency"),
        backfill=pick("backfill"),
    )
