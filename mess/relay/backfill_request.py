"""Turns a request to send existing documents into backfills, or into the reasons why it cannot be done."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from mess.capture.existing import Facts, matching, why_not
from mess.commands import command
from mess.config.document import MAX_DEPTH
from mess.config.match import checked
from mess.config.model import Config
from mess.config.operations import READ
from mess.config.query import mistakes
from mess.config.scope import is_glob, pipelines, resolve
from mess.errors import ConfigError, Problem
from mess.event import Namespace
from mess.relay.build import stage_names
from mess.similar import did_you_mean
from mess.state.backfills import Backfill, new_id
from mess.state.store import StateStore

_UNSENDABLE = re.compile("[\ud800-\udfff]")
"""What is left of an argument that is not UTF-8."""


@dataclass(frozen=True, slots=True)
class Request:
    """What an operator asks for. `namespaces` are `database.collection`, names or globs, and `match` comes from
    `checked_match`; for the rest, see `Backfill`."""

    namespaces: tuple[str, ...]
    match: str | None = None
    step: str | None = None
    pipeline: str | None = None
    rate: float | None = None
    origin: str = "operator"


@dataclass(frozen=True, slots=True)
class Prepared:
    """The collections that a request selects, and why others that its globs match cannot be sent."""

    collections: tuple[Facts, ...]
    left_out: tuple[str, ...]


def checked_match(text: str) -> str:
    """A query over change events, as it is stored: Extended JSON. Raises ConfigError for what MongoDB would refuse."""
    try:
        query = json.loads(text)
        too_deep = _depth(query) > MAX_DEPTH
    except ValueError as error:
        raise ConfigError(f"--match is not JSON: {error}") from error
    except RecursionError:
        too_deep = True
    if too_deep:
        raise ConfigError(f"--match is nested more than {MAX_DEPTH} levels deep")
    if not isinstance(query, dict):
        raise ConfigError('--match must be a query over the change event, as in {"fullDocument.total": {"$gte": 5}}')
    if problems := [Problem(message, ".".join(["--match", *map(str, path)])) for path, message in mistakes(query)]:
        raise ConfigError(problems)
    try:
        return json.dumps(checked(query))
    except ValueError as error:
        raise ConfigError(f"--match {error}") from error


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


async def prepare(client: Any, config: Config, request: Request) -> Prepared:
    """Find the collections of a request. Connects to MongoDB, and changes nothing.

    Raises ConfigError if there are none, or if one cannot be sent as requested; SourceError.
    """
    _know(config, request)
    found: dict[Namespace, Facts] = {}
    left_out: list[str] = []
    for pattern in request.namespaces:
        facts = await _matching(client, config, pattern)
        for each in facts:
            if (reason := why_not(each)) is None:
                found[each.namespace] = each
            elif is_glob(pattern):
                left_out.append(reason)
            else:
                raise ConfigError(reason)
    if not found:
        raise ConfigError(left_out[0])
    if problems := [problem for namespace in found for problem in unfit(config, namespace, request)]:
        raise ConfigError(map(Problem, problems))
    return Prepared(tuple(found.values()), tuple(dict.fromkeys(left_out)))


async def new_backfills(store: StateStore, collections: Sequence[Facts], request: Request) -> list[Backfill]:
    """The backfills of a request; they are not stored. Raises ConfigError if one of the same documents to the same
    steps has not ended yet."""
    made = [
        Backfill(
            id=new_id(),
            namespace=each.namespace,
            origin=request.origin,
            # A millisecond apart, so that they keep their order.
            created=each.time + timedelta(milliseconds=index),
            match=request.match,
            step=request.step,
            pipeline=request.pipeline,
            rate=request.rate,
        )
        for index, each in enumerate(collections)
    ]
    active = {_same(each): each for each in await store.backfills(active=True) if each.wanted != "cancelled"}
    problems = [
        f"{new.namespace} is being sent already, by {old.id}; `{command(f'backfill cancel {old.id}')}` ends that"
        for new in made
        if (old := active.get(_same(new))) is not None
    ]
    if problems:
        raise ConfigError(map(Problem, problems))
    return made


def _same(backfill: Backfill) -> tuple[Any, ...]:
    return backfill.namespace, backfill.match, backfill.step, backfill.pipeline


async def _matching(client: Any, config: Config, pattern: str) -> list[Facts]:
    """The existing watched collections. Raises ConfigError if there are none."""
    db, dot, coll = pattern.partition(".")
    if not (db and dot and coll) or _UNSENDABLE.search(pattern):
        raise ConfigError(f"{pattern!r} is not DATABASE.COLLECTION, such as shop.orders or 'shop.*'")
    found = await matching(client, config, pattern)
    if found:
        return found
    watched = [f"{name}.{each}" for name, database in config.databases.items() for each in database.collections or "*"]
    existing = [] if is_glob(pattern) else [str(each.namespace) for each in await matching(client, config, f"{db}.*")]
    hint = did_you_mean(pattern, dict.fromkeys([*existing, *watched]))
    if not is_glob(pattern) and resolve(config, db, coll) is None:
        raise ConfigError(f"the config does not watch {pattern}{hint or '; it watches: ' + ', '.join(watched)}")
    what = "watches no existing collection that matches" if is_glob(pattern) else "watches no existing collection"
    raise ConfigError(f"the config {what} {pattern}{hint}")


def _know(config: Config, request: Request) -> None:
    """Make sure that the requested step and pipeline exist. Raises ConfigError, with the names that do."""
    steps = {each.name: stage_names(each.steps) for each in pipelines(config)}
    if request.pipeline is not None and request.pipeline not in steps:
        raise ConfigError(f"there is no pipeline {request.pipeline!r}; there are: {_listed(steps)}")
    names = dict.fromkeys(name for each in steps.values() for name in each)
    if request.step is not None and request.step not in names:
        raise ConfigError(f"no pipeline has a step {request.step!r}; there are: {_listed(names)}")


def unfit(config: Config, namespace: Namespace, request: Request | Backfill) -> Iterator[str]:
    """Why a watched collection would not be sent as requested."""
    options = resolve(config, *namespace)
    if options is None:
        return
    if options.operations is not None and READ not in options.operations:
        wanted = ", ".join([READ, *options.operations])
        yield f"{namespace}: its `operations` leave out existing documents; write operations: [{wanted}]"
    name, steps = options.pipeline.name, stage_names(options.pipeline.steps)
    if not steps:
        yield f"{namespace}: it has no pipeline"
    elif request.pipeline not in (None, name):
        yield f"{namespace}: its pipeline is {name!r}, not {request.pipeline!r}"
    elif request.step is not None and request.step not in steps:
        yield f"{namespace}: its pipeline {name!r} has no step {request.step!r}; there are: {_listed(steps)}"


def _listed(names: Any) -> str:
    return ", ".join(map(repr, names)) or "none"
