"""What MongoDB is asked for gives each stream the changes that the config promises to it, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from bson import Regex
from hypothesis import given
from hypothesis import strategies as st

from mess.capture.coverage import lookup
from mess.capture.plan import StreamPlan, assignments, plan
from mess.config.model import Config
from mess.config.scope import Resolved, resolve
from mess.event import Namespace
from tests.fuzz.profiles import examples

DBS = ["a", "b", "ab", "admin"]
COLLS = ["x", "y", "xy", "z"]
QUERY = {"n": 1}

options = st.fixed_dictionaries(
    {},
    optional={
        "match": st.sampled_from([QUERY, {}]),
        "operations": st.sampled_from([["insert"], ["rename", "insert"]]),
        "full_document": st.sampled_from(["off", "update_lookup"]),
        "exclude": st.sampled_from([["password"], []]),
    },
)
# Few kinds, so that many entries want the same.
collections = st.dictionaries(
    st.sampled_from(["x", "y", "z", "*", "x*", "?", "*y", "[yz]", "y?", "*x*"]), options | st.just({}), max_size=6
)
database = st.builds(lambda own, found: {**own, "collections": found}, options | st.just({}), collections)
databases = st.dictionaries(
    st.sampled_from(["a", "b", "*", "a*", "?b", "?", "*a", "b?"]), database | st.just({}), min_size=1, max_size=5
)


def events() -> Iterator[dict[str, Any]]:
    """Changes to every collection, renamings to every other, and databases that are dropped."""
    for db in DBS:
        for n in (0, 1):
            yield {"operationType": "dropDatabase", "ns": {"db": db}, "n": n}
            for coll in COLLS:
                for operation in ("insert", "delete"):
                    yield {"operationType": operation, "ns": {"db": db, "coll": coll}, "n": n}
                for to in COLLS:
                    namespaces = {"ns": {"db": db, "coll": coll}, "to": {"db": db, "coll": to}}
                    yield {"operationType": "rename", **namespaces, "n": n}


EVENTS = list(events())


def at(event: dict[str, Any], path: str) -> Any:
    for part in path.split("."):
        event = event.get(part, {})
    return None if event == {} else event


def matches(query: dict[str, Any], event: dict[str, Any]) -> bool:
    """As MongoDB evaluates what plans ask for."""
    return all(_holds(key, operand, event) for key, operand in query.items())


def _holds(key: str, operand: Any, event: dict[str, Any]) -> bool:
    if key in ("$or", "$and"):
        return (any if key == "$or" else all)(matches(each, event) for each in operand)
    if key == "$expr":
        path, literal = operand["$in"]
        return at(event, path[1:]) in literal["$literal"]
    value = at(event, key)
    if not isinstance(operand, dict):
        return bool(value == operand)
    [(operator, wanted)] = operand.items()
    assert operator in ("$in", "$nin")
    return any(_equal(value, each) for each in wanted) == (operator == "$in")


def _equal(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Regex):
        return isinstance(value, str) and re.search(wanted.pattern, value) is not None
    return bool(value == wanted)


@dataclass(frozen=True)
class Promise:
    """What a config says of a namespace."""

    options: Resolved | None
    stream: str | None

    def holds(self, stream: StreamPlan, event: dict[str, Any]) -> bool:
        """Whether it gives the event to the stream."""
        if self.options is None or self.stream != stream.name:
            return False
        operations = self.options.operations
        # Whole databases are dropped whatever is said of collections.
        chosen = operations is None or event["operationType"] in ("dropDatabase", *operations)
        return chosen and matches(self.options.match or {}, event)


def namespaces(event: dict[str, Any]) -> list[Namespace]:
    return [Namespace(event[place]["db"], event[place].get("coll", "")) for place in ("ns", "to") if place in event]


@examples(150)
@given(databases, st.sampled_from([{}, {"match": QUERY}]))
def test_a_stream_asks_for_what_the_config_gives_it(databases: dict[str, Any], top: dict[str, Any]) -> None:
    """A renaming by either name, and a dropped database by its own options."""
    config = Config.model_validate({"databases": databases, "pipeline": [{"name": "log"}], **top})
    assigned = assignments(config)
    promises = {
        each: Promise(resolve(config, *each), lookup(assigned, each)) for each in set(chain(*map(namespaces, EVENTS)))
    }
    for stream in plan(config):
        for event in EVENTS:
            source, *_ = concerned = namespaces(event)
            if stream.database not in (None, source.db):
                continue
            # Where a dropped database is another stream's, the relay leaves it out, not MongoDB.
            if not source.coll and promises[source].stream != stream.name:
                continue
            found = stream.match is None or matches(stream.match, event)
            assert found == any(promises[each].holds(stream, event) for each in concerned), (stream.name, event)
