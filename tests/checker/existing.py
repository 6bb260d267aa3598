"""Judges existing documents that were merged into a stream: each must be at its exact place."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import bson
from bson import Timestamp, json_util

from tests.checker.committed import Change
from tests.receiver import Request


@dataclass(frozen=True, slots=True)
class Seen:
    """The first delivery of an event. `mark` is the value of `w` in its document, `time` its cluster time."""

    id: str
    key: bytes
    operation: str
    time: Timestamp
    mark: Any


@dataclass
class Deliveries:
    """What a receiver was sent, as canonical Extended JSON, in its order: the first delivery of each event."""

    seen: list[Seen] = field(default_factory=list)
    repeated: int = 0
    reads_repeated: int = 0
    ids: set[str] = field(default_factory=set)

    def add(self, request: Request) -> None:
        """Take in a request's events."""
        for event in request.events:
            if event.id in self.ids:
                self.repeated += 1
                self.reads_repeated += event.body["operationType"] == "read"
                continue
            self.ids.add(event.id)
            body = json_util.loads(json_util.dumps(event.body))
            if "documentKey" not in body:
                continue
            document = body.get("fullDocument") or {}
            key = bson.encode({"_id": body["documentKey"]["_id"]})
            self.seen.append(
                Seen(
                    id=event.id,
                    key=key,
                    operation=body["operationType"],
                    time=body["clusterTime"],
                    mark=document.get("w"),
                )
            )

    @property
    def reads(self) -> int:
        """How many existing documents there are."""
        return sum(seen.operation == "read" for seen in self.seen)


def check_merged(
    seen: Sequence[Seen],
    committed: Sequence[Change],
    before: Mapping[bytes, Any],
    after: Mapping[bytes, Any],
) -> None:
    """Every change arrived in order; every `read` is behind the changes that it contains and before those that it does
    not, and holds the state between them; every document that was always there was read; and what arrived last for a
    document is its state in the end.

    `before` and `after` are the marks of all documents before the first change and after the last one. Raises
    AssertionError.
    """
    arrived: dict[bytes, list[Seen]] = defaultdict(list)
    for each in seen:
        arrived[each.key].append(each)
    changes: dict[bytes, list[Change]] = defaultdict(list)
    for change in committed:
        if change.key is not None:
            changes[change.key].append(change)
    wrong: list[str] = []
    for key in {*arrived, *changes, *before}:
        name = bson.decode(key)["_id"]
        mine, theirs = arrived[key], changes[key]
        live = [each.id for each in mine if each.operation != "read"]
        if live != [change.id for change in theirs]:
            wrong.append(f"{name!r}: {len(live)} changes arrived, or out of order; {len(theirs)} were committed")
            continue
        wrong += [f"{name!r}: {text}" for text in _misplaced(mine, theirs, before.get(key))]
        deleted = any(change.operation == "delete" for change in theirs)
        if key in before and not deleted and not any(each.operation == "read" for each in mine):
            wrong.append(f"{name!r}: the document was never read")
        last = mine[-1] if mine else None
        if last is not None and (key in after) != (last.operation != "delete"):
            wrong.append(f"{name!r}: the last event is a {last.operation}")
        if last is not None and last.operation in ("read", "insert", "replace") and last.mark != after.get(key):
            wrong.append(f"{name!r}: the last event has the mark {last.mark}, the document has {after.get(key)}")
    assert not wrong, f"{len(wrong)} documents are wrong:\n" + "\n".join(wrong[:20])


def _misplaced(arrived: Sequence[Seen], changes: Sequence[Change], before: Any) -> list[str]:
    found: list[str] = []
    passed = 0
    for each in arrived:
        if each.operation != "read":
            passed += 1
            continue
        contained = [change for change in changes if change.time <= each.time]
        if len(contained) != passed:
            found.append(f"read at {each.time} behind {passed} changes, but it contains {len(contained)}")
            continue
        # An update's own mark is recorded too; a delete leaves none, and then there is nothing to read.
        state = contained[-1].mark if contained else before
        if each.mark != state:
            found.append(f"read at {each.time} with the mark {each.mark}; at that time it was {state}")
    return found
