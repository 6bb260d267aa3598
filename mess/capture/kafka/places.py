"""Where the partitions of a consumer group begin. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple


class PartitionKey(NamedTuple):
    """A partition of a topic."""

    topic: str
    number: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.number}]"


class GroupOffset(NamedTuple):
    """An offset of a group: before it, everything in the partition is done. `topic_id` is the id of the topic that it
    is one of, None if that is unknown."""

    offset: int
    topic_id: str | None


class Range(NamedTuple):
    """The offsets that a partition holds: from `low` to the one before `end`."""

    low: int
    end: int


@dataclass(frozen=True, slots=True)
class Lost:
    """Records that are gone: those between the offset `since`, before which everything was delivered, and the offset
    `until`, with which the partition continues. `count` is None if nobody knows how many they are. `topic_id` is the id
    of the topic in which it continues."""

    since: int
    until: int
    count: int | None
    reason: str
    topic_id: str | None = None


@dataclass(frozen=True, slots=True)
class Start:
    """Where a partition begins: before the record with this `offset`. `committed` is the group's offset so far, None if
    it had none. `topic_id` is the id of its topic."""

    key: PartitionKey
    offset: int
    committed: int | None = None
    lost: Lost | None = None
    topic_id: str | None = None


def start(
    key: PartitionKey,
    committed: int | None,
    held: Range,
    begin: Literal["oldest", "now"],
    *,
    recreated: bool = False,
    topic_id: str | None = None,
) -> Start:
    """Where a partition begins of which the group has `committed` an offset, or for which there is none; `recreated`
    is whether that was an offset of another topic with this name."""
    if committed is None:
        return Start(key, held.low if begin == "oldest" else held.end, topic_id=topic_id)
    if recreated:
        lost = Lost(committed, held.low, None, reason=_recreated(key), topic_id=topic_id)
    elif committed < held.low:
        count = held.low - committed
        lost = Lost(committed, held.low, count, reason=_gone(key, committed, held.low), topic_id=topic_id)
    elif committed > held.end:
        lost = Lost(committed, held.low, None, reason=_shortened(key, committed, held.end), topic_id=topic_id)
    else:
        return Start(key, committed, committed, topic_id=topic_id)
    return Start(key, held.low, committed, lost=lost, topic_id=topic_id)


def begins(
    found: Mapping[PartitionKey, GroupOffset | None], start: Literal["oldest", "now"]
) -> dict[PartitionKey, Literal["oldest", "now"]]:
    """Where those partitions of a topic begin for which the group has no offset, given those of all its partitions: at
    `start`. A partition that was added to a topic that the group knows begins with its oldest record."""
    known = any(offset is not None for offset in found.values())
    return {key: "oldest" if known else start for key, offset in found.items() if offset is None}


def _gone(key: PartitionKey, committed: int, low: int) -> str:
    return (
        f"partition {key.number} of topic {key.topic} no longer holds the records from offset {committed} to "
        f"{low - 1}: they were removed before they were read (see the topic's retention.ms and retention.bytes)"
    )


def _shortened(key: PartitionKey, committed: int, end: int) -> str:
    return (
        f"partition {key.number} of topic {key.topic} ends at offset {end}, before the group's offset {committed}: the "
        "topic was created anew, or the broker has lost records"
    )


def _recreated(key: PartitionKey) -> str:
    return (
        f"topic {key.topic} was deleted and created anew: what had not been read of its partition {key.number} is gone"
    )
