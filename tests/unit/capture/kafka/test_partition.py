"""What is gone of a partition is reported in its place."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from mess.capture.kafka.formats.decoder import decoder
from mess.capture.kafka.partition import Load, PartitionSource
from mess.capture.kafka.places import Lost, PartitionKey, Start
from mess.capture.kafka.record import KafkaEvent, Record
from mess.capture.source import Unreadable
from tests.unit.capture.kafka.records import record

KEY = PartitionKey("changes", 3)


async def read(source: PartitionSource) -> tuple[int, bool]:
    """The offset that may be committed once the next batch is done, and whether it reports a loss."""
    batch = await source.read()
    assert batch is not None
    assert batch.position.token is not None
    return batch.position.token["offset"], batch.lost is not None


async def test_records_that_wait_come_before_the_loss_of_those_behind_them() -> None:
    """Else their offsets would be passed, and committed, before they are delivered."""
    source = PartitionSource(Start(KEY, 5), decoder("auto"), lambda key, load: None)
    source.add(Load([record(None, offset=5), record(None, offset=6)], 0))
    source.lose(Lost(7, 20, 13, reason="retention"))
    source.add(Load([record(None, offset=20)], 0))
    assert [await read(source) for _ in range(3)] == [(7, False), (20, True), (21, False)]


async def test_a_partition_can_begin_with_a_loss() -> None:
    source = PartitionSource(
        Start(KEY, 5, 2, lost=Lost(2, 5, 3, reason="retention")), decoder("auto"), lambda key, load: None
    )
    source.add(Load([record(None, offset=5)], 0))
    assert [await read(source) for _ in range(2)] == [(5, True), (6, False)]


async def test_an_end_behind_the_last_record_is_reached_after_that_record() -> None:
    """The records of aborted transactions, and the markers of all, are not waited for. An end that is known changes
    nothing."""
    source = PartitionSource(Start(KEY, 5), decoder("auto"), lambda key, load: None)
    source.reach(5)
    source.add(Load([record(None, offset=5)], 0))
    source.reach(6)
    source.reach(9)
    source.reach(9)
    source.add(Load([record(None, offset=12)], 0))
    assert [await read(source) for _ in range(3)] == [(6, False), (9, False), (13, False)]
    source.lose(Lost(13, 2, None, reason="created anew"))
    source.reach(2)
    source.add(Load([record(None, offset=2)], 0))
    assert [await read(source) for _ in range(2)] == [(2, True), (3, False)]


async def test_a_large_load_is_decoded_beside_the_event_loop() -> None:
    """Decoding it may take seconds."""
    threads: list[str] = []

    class Decoder:
        def events(self, records: Sequence[Record]) -> tuple[list[KafkaEvent], list[Unreadable]]:
            threads.append(threading.current_thread().name)
            return [], []

    source = PartitionSource(Start(KEY, 5), Decoder(), lambda key, load: None)
    source.add(Load([record(None, offset=5)], 100))
    source.add(Load([record(None, offset=6)], 20_000_000))
    assert [await read(source) for _ in range(2)] == [(6, False), (7, False)]
    assert threads[0] == threading.main_thread().name != threads[1]
