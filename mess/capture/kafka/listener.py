"""The interface of what a member of a consumer group tells."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol

from mess.capture.kafka.admin import Terms
from mess.capture.kafka.heartbeat import Heard
from mess.capture.kafka.partition import Load
from mess.capture.kafka.places import GroupOffset, PartitionKey, Start


class Listener(Protocol):
    """What a member tells. All of it is called in the event loop, in the order in which it happens."""

    def joining(self, terms: Terms) -> None:
        """It is about to join the group."""

    @property
    def patience(self) -> float:
        """How many seconds `revoked` may take."""

    def assigned(self, starts: Sequence[Start]) -> None:
        """These partitions are about to be read."""

    def received(self, loads: Mapping[PartitionKey, Load]) -> None:
        """Records have arrived."""

    def reached(self, ends: Mapping[PartitionKey, int]) -> None:
        """All records before these offsets, with which the partitions end at present, have arrived."""

    def revoked(self, keys: Sequence[PartitionKey]) -> Coroutine[Any, Any, Mapping[PartitionKey, GroupOffset]]:
        """These partitions are about to go to other members. What it returns is awaited, for the offsets to commit
        before; meanwhile, the same ones may be assigned again."""

    def lost(self, keys: Sequence[PartitionKey]) -> Coroutine[Any, Any, None]:
        """Other members may have these partitions already: nothing of them may be delivered or committed. What it
        returns is awaited, as for `revoked`."""

    def expired(self, place: Start) -> None:
        """A partition's records were removed before they could be read; it continues at this place."""

    def heard(self, heard: Heard, statistics: Mapping[str, Any]) -> None:
        """A sample of the client's statistics."""

    def trouble(self, reason: str | None) -> None:
        """Why nothing can be read at present; None if that is over."""

    def failed(self, error: BaseException) -> None:
        """It has ended because of this error."""
