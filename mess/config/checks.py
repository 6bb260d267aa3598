"""Checks that depend on what the config means, not on its shape."""

from __future__ import annotations

import re
from typing import Any

from mess.config.document import Document, Path
from mess.config.messages import plain
from mess.config.pipelines import scopes
from mess.config.query import doubts, mistakes
from mess.config.scope import is_glob
from mess.config.worker import check_worker
from mess.options.mongodb import KNOWN, refusals
from mess.similar import closest_name, did_you_mean
from mess.state.open import in_mongodb

_INTERNAL = ("admin", "local", "config")
_LIKE = 0.65
"""How similar a misspelled option must be to a known one for a suggestion, as `tsl` is to `tls`."""
_WATCH = "name what to watch, as in databases: {shop: {}}"


def check(data: dict[str, Any], document: Document) -> None:
    """Report what cannot work, even if the shape of the data is wrong."""
    _databases(data.get("databases"), document)
    _state(data, document)
    _url(data, document)
    check_worker(data, document)
    for path, scope in scopes(data):
        if scope.get("pipeline") == []:
            message = "has no steps; write at least - log, or leave pipeline out to inherit the one above"
            document.reject(message, (*path, "pipeline"))
        place = (*path, "match")
        for inner, message in mistakes(scope.get("match"), place):
            document.report(message, inner)
        for inner, message in doubts(scope.get("match"), place):
            document.warn(message, inner)
        if "changeHook" in scope and "change_hook" in scope:
            document.reject("is the same as changeHook; set only one of them", (*path, "change_hook"))


def _databases(databases: Any, document: Document) -> None:
    if databases is None or databases == {}:
        document.reject(f"is missing or empty; {_WATCH}", ("databases",))
    elif isinstance(databases, list):
        document.reject(_no_list(databases, ("databases",), document), ("databases",))
    elif isinstance(databases, dict):
        for name, database in databases.items():
            _database(name, ("databases", name), document)
            collections = database.get("collections") if isinstance(database, dict) else None
            path: Path = ("databases", name, "collections")
            if isinstance(collections, list):
                document.reject(_no_list(collections, path, document), path)
            elif isinstance(collections, dict):
                for coll in collections:
                    _collection(coll, (*path, coll), document)


def _no_list(names: list[Any], path: Path, document: Document) -> str:
    first = names[0] if names and plain(names[0]) and not document.is_secret((*path, 0)) else "name"
    return f"must be a mapping, not a list; write each name with its options, as in {path[-1]}: {{{first}: {{}}}}"


def _database(name: str, path: Path, document: Document) -> None:
    # Rules for database names: https://www.mongodb.com/docs/manual/reference/limits/
    if name in _INTERNAL:
        document.report("is MongoDB's own database and cannot be watched", path)
    elif "." in name:
        db, _, coll = name.partition(".")
        document.report(f"a database name cannot contain a dot; write {db}: {{collections: {{{coll}: {{}}}}}}", path)
    elif not name or any(character in name for character in '/\\ "$\0') or len(name) > 63:
        document.report("is not a valid database name", path)


def _collection(name: str, path: Path, document: Document) -> None:
    if not name or "\0" in name or (name.startswith("system.") and not is_glob(name)):
        document.report("is not the name of a collection that MESS can watch", path)


def _state(data: dict[str, Any], document: Document) -> None:
    state = data.get("state")
    state = state if isinstance(state, dict) else {}
    url = state.get("url")
    database = state.get("database", "mess")
    if not isinstance(database, str) or (isinstance(url, str) and not in_mongodb(url)):
        return
    if database in _INTERNAL:
        document.report("is MongoDB's own database; name another", ("state", "database"))
    databases = data.get("databases")
    if isinstance(databases, dict) and database in databases:
        message = "holds the relay's own state and cannot be watched; keep the state elsewhere with state.database"
        document.report(message, ("databases", database))


def _url(data: dict[str, Any], document: Document) -> None:
    for section in ("mongodb", "state"):
        options = data.get(section)
        url = options.get("url") if isinstance(options, dict) else None
        if not isinstance(url, str) or not url.startswith(("mongodb://", "mongodb+srv://")):
            continue
        authority = url.partition("://")[2].partition("/")[0].partition("?")[0]
        if authority.count("@") > 1:
            document.report("write @, : and / in a user name or password as %40, %3A and %2F", (section, "url"))
        elif (mistake := _hosts(authority.rpartition("@")[2], srv=url.startswith("mongodb+srv:"))) is not None:
            document.reject(mistake, (section, "url"))
        else:
            _url_options(url, (section, "url"), document)


def _url_options(url: str, path: Path, document: Document) -> None:
    for name, value, reason, is_foreign, is_fatal in refusals(url):
        meant = None if is_foreign or reason else closest_name(name, KNOWN, _LIKE)
        if is_fatal:
            choices = re.findall(r"[\w-]+", reason) if " one of" in reason or " must be in" in reason else []
            document.report(f"{name}: {reason}{did_you_mean(value, choices)}", path)
        elif reason:
            document.warn(f"{name}: {reason}", path)
        elif meant is not None:
            document.report(f'unknown option {name}; did you mean "{meant}"?', path)
        else:
            shown = f"the option {name}" if plain(name) and not document.is_secret(path) else "an option"
            document.warn(f"{shown} is unknown to the driver and is ignored", path)


def _hosts(hosts: str, *, srv: bool) -> str | None:
    """What is wrong with the hosts of a connection string. The value is not quoted: an apparent port may be a
    password."""
    if not hosts.strip(","):
        return "has no host; write it like mongodb://localhost:27017"
    for host in hosts.split(","):
        name, colon, port = host.rpartition(":") if not host.endswith("]") else (host, "", "")
        if colon and not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536):
            return (
                "has no host, or a port that is not between 1 and 65535; with a user and password, write it like "
                "mongodb://user:password@localhost:27017"
            )
        if not (name if colon else host):
            return "has an empty host; write it like mongodb://host1:27017,host2:27017"
        if srv and (colon or "," in hosts):
            return "must have a single host and no port, since it begins with mongodb+srv://"
    return None
