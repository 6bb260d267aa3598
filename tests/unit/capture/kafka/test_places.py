"""Where partitions begin."""

from __future__ import annotations

from mess.capture.kafka.places import PartitionKey, Range, begins, start

KEY = PartitionKey("changes", 3)
HELD = Range(10, 20)


def test_a_partition_continues_at_the_groups_offset() -> None:
    for offset in (10, 15, 20):
        found = start(KEY, offset, HELD, "now")
        assert (found.offset, found.lost) == (offset, None)


def test_without_an_offset_it_begins_where_the_option_says() -> None:
    assert start(KEY, None, HELD, "oldest").offset == 10
    assert start(KEY, None, HELD, "now").offset == 20


def test_records_that_were_removed_are_named() -> None:
    found = start(KEY, 4, HELD, "now")
    assert (found.offset, found.committed) == (10, 4)
    assert found.lost is not None
    assert (found.lost.since, found.lost.until, found.lost.count) == (4, 10, 6)
    assert "partition 3 of topic changes" in found.lost.reason
    assert "from offset 4 to 9" in found.lost.reason


def test_an_offset_behind_the_end_is_lost_history() -> None:
    """A topic that was created anew: everything in it is new. What was in the old one, nobody knows."""
    found = start(KEY, 25, HELD, "now")
    assert found.offset == 10
    assert found.lost is not None
    assert (found.lost.since, found.lost.until, found.lost.count) == (25, 10, None)
    assert "ends at offset 20, before the group's offset 25" in found.lost.reason


def test_an_offset_of_another_topic_with_this_name_is_lost_history() -> None:
    found = start(KEY, 15, HELD, "now", recreated=True)
    assert found.offset == 10
    assert found.lost is not None
    assert (found.lost.since, found.lost.until, found.lost.count) == (15, 10, None)
    assert "topic changes was deleted and created anew" in found.lost.reason


def test_a_partition_that_was_added_to_a_known_topic_begins_with_its_oldest_record() -> None:
    others = {PartitionKey("changes", 0): 7}
    assert begins({**others, KEY: None}, "now") == {KEY: "oldest"}


def test_all_partitions_of_a_topic_that_is_new_to_the_group_begin_alike() -> None:
    keys = [PartitionKey("changes", number) for number in range(2)]
    assert begins(dict.fromkeys(keys), "now") == dict.fromkeys(keys, "now")
