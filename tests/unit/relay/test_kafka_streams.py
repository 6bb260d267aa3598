"""A worker's streams while partitions come and go."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from mess.capture.kafka.places import GroupOffset, PartitionKey, Start
from mess.capture.kafka.record import position
from mess.errors import StateError
from mess.relay.kafka.streams import KafkaStreams

KEY = PartitionKey("changes", 3)


class _Source:
    name = str(KEY)
    topic_id = "one"

    async def close(self) -> None:
        """Nothing is open."""


def _opened(start: Start) -> Any:
    window = SimpleNamespace(position=position(*start.key, start.offset), drained=_at_once)
    return _Source(), SimpleNamespace(run=asyncio.Event().wait, window=window, lanes=[])


async def _at_once() -> None:
    return


async def _failing() -> None:
    raise StateError("the state is away")


def _streams(record_deferred_gaps: Any) -> KafkaStreams:
    store: Any = SimpleNamespace(record_deferred_gaps=record_deferred_gaps)
    return KafkaStreams(
        _opened,
        store=store,
        grace=lambda: 1.0,
        go_on=lambda: True,
        affected=list,
        share_out=lambda partitions: None,
    )


async def test_offsets_behind_a_gap_that_cannot_be_stored_are_not_committed() -> None:
    """Nobody would ever know of the gap."""
    for record, expected in ((_at_once, {KEY: GroupOffset(5, "one")}), (_failing, {})):
        streams = _streams(record)
        streams.assigned([Start(KEY, 5)])
        assert await streams.revoked([KEY]) == expected


async def test_a_partition_that_is_assigned_again_before_it_has_left_stays() -> None:
    """A member whose process did not respond for a while hears of both at once, in this order."""
    streams = _streams(_at_once)
    for leave in (streams.lost, streams.revoked):
        streams.assigned([Start(KEY, 5)])
        leaving = leave([KEY])
        streams.assigned([Start(KEY, 9)])
        await leaving
        assert [each.offset for each in streams.partitions] == [9]
        assert len(streams.progress) == len(streams.sources) == 1
        await streams.lost([KEY])
        assert not streams.partitions
