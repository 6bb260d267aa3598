"""Gaps in MongoDB: one document each."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import UpdateOne

from mess.state.failover import persist
from mess.state.mongo_queries import name_of
from mess.state.records import Gap, damaged


class MongoGaps:
    """The gaps of one relay. `relays` holds those that MESS 0.1 stored, with the relay's other state."""

    def __init__(self, gaps: Any, relays: Any, relay: str, retry_for: float, place: str) -> None:
        self._gaps = gaps
        self._relays = relays
        self._relay = relay
        self._retry_for = retry_for
        self._place = place

    async def record(self, gaps: Sequence[Gap]) -> None:
        """See `StateStore.record_gaps`."""
        writes = [UpdateOne({"_id": self._name(gap)}, {"$set": self._document(gap)}, upsert=True) for gap in gaps]
        await persist("record gaps", lambda: self._gaps.bulk_write(writes), self._retry_for)

    async def remove(self, gap: Gap) -> None:
        """See `StateStore.remove_gap`."""
        await persist("remove a gap", lambda: self._gaps.delete_one({"_id": self._name(gap)}), self._retry_for)

    async def read(self) -> list[Gap]:
        """The gaps, oldest first."""

        async def read() -> tuple[dict[str, Any], list[dict[str, Any]]]:
            found = [each async for each in self._gaps.find({"relay": self._relay})]
            return await self._relays.find_one({"_id": self._relay}, {"gaps": 1}) or {}, found

        relay, found = await persist("read the gaps", read, self._retry_for)
        early = [Gap.of_fields(each) for each in relay.get("gaps", ())]
        return sorted([*early, *map(self._understood, found)], key=lambda gap: gap.time)

    def _understood(self, document: Mapping[str, Any]) -> Gap:
        try:
            return Gap.of_fields(document)
        except (KeyError, TypeError, ValueError) as error:
            name = document["_id"]
            removal = f'remove it: db.getCollection("gaps").deleteOne({{_id: "{name}"}})'
            raise damaged(name, f"collection {self._place}", error, removal) from error

    def _name(self, gap: Gap) -> str:
        return name_of(self._relay, gap.id)

    def _document(self, gap: Gap) -> dict[str, Any]:
        return {field.name: getattr(gap, field.name) for field in dataclasses.fields(gap)} | {"relay": self._relay}
