"""Reports of gaps to receivers: events with the operation `mess.gap`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timezone
from typing import Any

from mess.capture.region import Region
from mess.capture.source import PlacedEvent
from mess.config.scope import is_glob
from mess.event import GAP, Namespace, Position
from mess.ids import hashed_id
from mess.state.records import Gap


class GapEvent(PlacedEvent):
    """Reports a gap; `affected` are the namespaces that it is about, as names or globs."""

    __slots__ = ("affected",)

    def __init__(self, change: dict[str, Any], affected: Namespace, place: Position, *, id: str) -> None:  # noqa: A002
        ns = change["ns"]
        super().__init__(change, Namespace(ns["db"], ns.get("coll", "")), id=id)
        self.affected = affected
        self.place = place


def gap_events(gap: Gap, place: Position, regions: Sequence[Region], cause: str | None = None) -> list[GapEvent]:
    """The events that report a gap, one for each region with collections.

    Their ids depend on the `cause` (the id of the event that cannot be read, else the gap's) and the region.
    """
    return [_event(gap, place, region, cause or gap.id) for region in regions if not region.of_databases]


def _event(gap: Gap, place: Position, region: Region, cause: str) -> GapEvent:
    db, coll = region.dbs[0], region.colls[0]
    change: dict[str, Any] = {
        "operationType": GAP,
        "wallTime": gap.time.astimezone(timezone.utc).replace(tzinfo=None),
        "ns": {"db": db} if is_glob(coll) else {"db": db, "coll": coll},
        "gap": {
            "id": gap.id,
            "kind": gap.kind,
            "namespaces": region.text,
            "reason": gap.reason,
            "since": gap.since,
            "until": gap.until,
            "count": gap.count,
        },
    }
    if gap.until is not None:
        change["clusterTime"] = gap.until
    return GapEvent(change, Namespace(db, coll), place, id=hashed_id(f"{GAP}\0{cause}\0{region.text}"))
