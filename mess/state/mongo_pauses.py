"""Pauses in MongoDB: one document each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mess.state.failover import persist
from mess.state.mongo_queries import name_of
from mess.state.pauses import Pause, Target
from mess.state.records import damaged


class MongoPauses:
    """The pauses of one relay."""

    def __init__(self, pauses: Any, relay: str, retry_for: float, place: str) -> None:
        self._pauses = pauses
        self._relay = relay
        self._retry_for = retry_for
        self._place = place

    async def read(self) -> list[Pause]:
        """See `StateStore.pauses`."""

        async def read() -> list[dict[str, Any]]:
            return [each async for each in self._pauses.find({"relay": self._relay}).sort("since", 1)]

        return [self._understood(each) for each in await persist("read the pauses", read, self._retry_for)]

    async def add(self, pause: Pause) -> None:
        """See `StateStore.pause`."""
        query = {"_id": name_of(self._relay, pause.target.id)}
        change = {"$setOnInsert": {"relay": self._relay, **pause.fields()}}
        await persist("store a pause", lambda: self._pauses.update_one(query, change, upsert=True), self._retry_for)

    async def remove(self, target: Target) -> bool:
        """See `StateStore.resume`."""
        query = {"_id": name_of(self._relay, target.id)}
        found = await persist("remove a pause", lambda: self._pauses.delete_one(query), self._retry_for)
        return bool(found.deleted_count)

    def _understood(self, document: Mapping[str, Any]) -> Pause:
        try:
            return Pause.of_fields(document)
        except (KeyError, TypeError, ValueError) as error:
            name = document["_id"]
            removal = f'remove it: db.getCollection("pauses").deleteOne({{_id: "{name}"}})'
            raise damaged(name, f"collection {self._place}", error, removal) from error
