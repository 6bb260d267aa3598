"""Plans the fewest change streams that cover a config. Pure: it never connects to MongoDB."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import bson
from bson import json_util

from mess.capture.coverage import Rule
from mess.capture.exclude import without
from mess.capture.match import NEVER_WATCHED, Branch, match_of, own_match, within_regions
from mess.capture.region import Region, disjoint
from mess.capture.selection import Entry, Selection
from mess.config.document import show
from mess.config.model import CollectionScope, Config, DatabaseScope
from mess.config.scope import Resolved, is_glob, resolve
from mess.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """One change stream to open.

    `name` is stable for what the stream selects and names its checkpoint. `database` is None for a stream over the
    whole deployment. `match` is the `$match` stage that MongoDB evaluates, None if everything is wanted. `fields` are
    the wanted fields of a change event, None for all. `exclude` are the paths of fields that MongoDB removes from
    documents, after it has evaluated `match`. `expanded_events` is MongoDB's `showExpandedEvents`, None for the
    server's default. `queries` are the config paths of the scopes' `match` that are part of `match`.
    """

    name: str
    database: str | None
    selection: Selection
    match: dict[str, Any] | None
    full_document: str
    full_document_before_change: str
    fields: tuple[str, ...] | None = None
    exclude: tuple[str, ...] = ()
    expanded_events: bool | None = None
    queries: tuple[str, ...] = ()
    hash: str = field(init=False)

    def __post_init__(self) -> None:
        # What events contain makes no difference to a token: it is valid for the same events in the same order.
        shape: list[Any] = [self.database, self.match, self.full_document, self.full_document_before_change]
        if self.expanded_events is not None:  # keeps checkpoints valid that are older than this option
            shape.append(self.expanded_events)
        text = json_util.dumps(shape, sort_keys=True)
        object.__setattr__(self, "hash", hashlib.sha256(text.encode()).hexdigest()[:16])

    @property
    def looks_up(self) -> bool:
        """Whether an update's `fullDocument` comes from a lookup after the change, not from a post-image."""
        return self.full_document == "update_lookup"

    @property
    def contents(self) -> tuple[Any, ...]:
        """What determines what an event contains."""
        return self.full_document, self.full_document_before_change, self.fields, self.exclude, self.expanded_events

    def stages(self) -> list[dict[str, Any]]:
        """The aggregation pipeline, without a starting position."""
        options: dict[str, Any] = {"fullDocument": _CAMEL[self.full_document]}
        if self.full_document_before_change != "off":
            options["fullDocumentBeforeChange"] = _CAMEL[self.full_document_before_change]
        if self.expanded_events is not None:
            options["showExpandedEvents"] = self.expanded_events
        if self.database is None:
            options["allChangesForCluster"] = True
        stages: list[dict[str, Any]] = [{"$changeStream": options}]
        if self.match is not None:
            stages.append({"$match": self.match})
        stages += without(self.exclude)
        if self.fields is not None:
            stages.append({"$project": dict.fromkeys(self.fields, 1)})
        return stages

    def narrowed(self, name: str, regions: Sequence[Region]) -> StreamPlan:
        """The same stream under another name, for only some of its namespaces; MongoDB evaluates the restriction."""
        condition = within_regions(regions)
        match = condition if self.match is None else {"$and": [self.match, condition]}
        return replace(self, name=name, match=match)


LARGEST_MATCH = 8_000_000
"""The maximum size of a stream's `$match` in bytes. MongoDB accepts commands of up to 16 MB, and adds its own `$match`
to this one."""
_TOO_LARGE = (
    f"there is more here than a change stream can ask MongoDB for ({LARGEST_MATCH // 1_000_000} MB); write fewer names "
    "and globs, give globs that may share names the same match and operations, or divide them among several relays"
)

_LONGEST_PATHS = 40

_CAMEL = {
    "off": "default",
    "update_lookup": "updateLookup",
    "when_available": "whenAvailable",
    "required": "required",
}


def plan(config: Config) -> list[StreamPlan]:
    """The change streams that the config needs: one per database, one for all databases given by globs, and one more
    for each set of collections with other stream options.

    Raises ConfigError if the conditions are too large for MongoDB.
    """
    groups = _groups(config)
    names = _names(groups)
    streams = [_stream(key, branches, names[key], config) for key, branches in groups.items()]
    # Two streams may be too large for the same reason.
    too_large = dict.fromkeys(_place(stream) for stream in streams if _size(stream) > LARGEST_MATCH)
    if too_large:
        raise ConfigError([Problem(_TOO_LARGE, place) for place in too_large])
    return streams


def _place(stream: StreamPlan) -> str:
    return "databases" if stream.database is None else show(("databases", stream.database, "collections"))


def _size(stream: StreamPlan) -> int:
    return 0 if stream.match is None else len(bson.encode(stream.match))


def assignments(config: Config) -> tuple[Rule[str | None], ...]:
    """The name of the stream that delivers each namespace's events, None for what the config leaves out; a map as in
    `mess.capture.coverage`."""
    names = _names(_groups(config))
    rules: list[Rule[str | None]] = []
    for db in (*NEVER_WATCHED, config.state.database):
        rules += [Rule(Region.of(db, "*"), None), Rule(Region.of(db, ""), None)]
    for db in sorted(config.databases, key=is_glob):  # exact database names take precedence over globs
        scope = config.databases[db]
        # Events of a whole database belong to the first of its streams.
        first = next(iter(scope.collections), "*")
        rules.append(Rule(Region.of(db, ""), names[_key(db, _options(config, db, scope, first))]))
        for coll in sorted(scope.collections or ("*",), key=is_glob):
            rules.append(Rule(Region.of(db, coll), names[_key(db, _options(config, db, scope, coll))]))
        rules.append(Rule(Region.of(db, "*"), None))
    return tuple(rules)


_Key = tuple[str | None, str, str, tuple[str, ...]]
"""What the entries of one stream share: the database (None for all), and the stream's options."""


def _key(db: str, options: Resolved) -> _Key:
    database = None if is_glob(db) else db
    return database, options.full_document, options.full_document_before_change, options.exclude


def _groups(config: Config) -> dict[_Key, list[Branch]]:
    groups: dict[_Key, list[Branch]] = defaultdict(list)
    for branch in _branches(config):
        groups[_key(branch.entry.db, branch.options)].append(branch)
    return groups


def _names(keys: Iterable[_Key]) -> dict[_Key, str]:
    """A name for each stream: its database's for the first, extended by the options for others."""
    names: dict[_Key, str] = {}
    for key in keys:
        database, full_document, before_change, exclude = key
        name = database or "*"
        own = ", ".join([full_document, before_change, *_written(exclude)])
        names[key] = f"{name} ({own})" if name in names.values() else name
    return names


def _written(exclude: tuple[str, ...]) -> list[str]:
    """What distinguishes a stream's name by its `exclude`; the paths, unless they are too long for a name."""
    paths = " ".join(exclude)
    if len(paths) > _LONGEST_PATHS:
        paths = f"{len(exclude)} fields {hashlib.sha256(paths.encode()).hexdigest()[:8]}"
    return [f"without {paths}"] if exclude else []


def _branches(config: Config) -> Iterable[Branch]:
    options = {
        db: {coll: _options(config, db, scope, coll) for coll in scope.collections or ("*",)}
        for db, scope in config.databases.items()
    }
    wanted = {db: {coll: _wanted(each) for coll, each in colls.items()} for db, colls in options.items()}
    databases = {db: json.dumps([own_match(config, db), *colls.items()]) for db, colls in wanted.items()}
    apart_dbs = _apart(databases)
    for db, colls in options.items():
        apart_colls = _apart(wanted[db])
        for coll, each in colls.items():
            entry = Entry(db=db, coll=coll, apart_dbs=apart_dbs[db], apart_colls=apart_colls[coll])
            query = _query(config, db, coll if config.databases[db].collections else None)
            yield Branch(entry=entry, options=each, wanted=wanted[db][coll], database=databases[db], query=query)


def _wanted(options: Resolved) -> str:
    """The part of the condition that is specific to a collection."""
    operations = None if options.operations is None else sorted(options.operations)
    stream = [options.full_document, options.full_document_before_change, options.exclude]
    return json.dumps([operations, options.match, *stream])


def _apart(wanted: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """The names and globs that take precedence over each name or glob, given the condition for each. For a glob, these
    are all names, and the earlier globs with other conditions that may match the same names. Exact names have none.

    With every earlier glob included, a thousand globs would make a query that MongoDB does not accept.
    """
    names = tuple(name for name in wanted if not is_glob(name))
    found: dict[str, tuple[str, ...]] = dict.fromkeys(names, ())
    earlier: dict[str, list[str]] = defaultdict(list)
    for glob, what in wanted.items():
        if is_glob(glob):
            others = [each for other, globs in earlier.items() if other != what for each in globs]
            found[glob] = names + tuple(each for each in others if not disjoint(each, glob))
            earlier[what].append(glob)
    return found


def _options(config: Config, db: str, scope: DatabaseScope, coll: str) -> Resolved:
    # Resolve the glob as if it were a name: every namespace under this entry has these options.
    alone = scope.model_copy(update={"collections": {coll: scope.collections.get(coll, CollectionScope())}})
    resolved = resolve(config.model_copy(update={"databases": {db: alone}}), db, coll)
    if resolved is None:
        raise AssertionError(f"{db}.{coll} is not under its own entry")
    return resolved


def _query(config: Config, db: str, coll: str | None = None) -> str:
    """The config path of the `match` that applies to an entry; empty if there is none."""
    database = config.databases[db]
    own = None if coll is None else database.collections[coll].match
    if own is not None:
        return show(("databases", db, "collections", str(coll), "match")) if own else ""
    if database.match is not None:
        return show(("databases", db, "match")) if database.match else ""
    return "match" if config.match else ""


def _stream(key: _Key, branches: list[Branch], name: str, config: Config) -> StreamPlan:
    database, full_document, before_change, exclude = key
    return StreamPlan(
        name=name,
        database=database,
        selection=Selection(tuple(branch.entry for branch in branches)),
        match=match_of(database, branches, config),
        full_document=full_document,
        full_document_before_change=before_change,
        exclude=exclude,
        expanded_events=config.show_expanded_events,
        queries=_queries(branches, config),
    )


def _queries(branches: list[Branch], config: Config) -> tuple[str, ...]:
    own = [branch.query for branch in branches]
    of_databases = [_query(config, branch.entry.db) for branch in branches]
    return tuple(query for query in dict.fromkeys([*own, *of_databases]) if query)
