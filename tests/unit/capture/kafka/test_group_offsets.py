"""Where partitions begin, as a member finds out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition

from mess.capture.kafka.group_offsets import GroupOffsets
from mess.capture.kafka.places import GroupOffset, PartitionKey

A, B = PartitionKey("changes", 0), PartitionKey("changes", 1)
ONE, TWO = "one".ljust(22, "-"), "two".ljust(22, "-")  # topic ids have this length


class _Broker:
    """Keeps a group's offsets, and answers a consumer and an admin client. `meanwhile` is called when a partition's end
    is asked for."""

    def __init__(self) -> None:
        self.offsets: dict[PartitionKey, tuple[int, str]] = {}
        self.ends = {A: 20, B: 30}
        self.topic_id: str | None = ONE
        self.cluster_id = "here"
        self.meanwhile: Callable[[], None] = lambda: None

    def ids(self, topics: Iterable[str]) -> Mapping[str, str]:
        return {} if self.topic_id is None else dict.fromkeys(topics, self.topic_id)

    def numbers(self, topic: str) -> Sequence[int]:
        return [key.number for key in self.ends if key.topic == topic]

    def committed(self, partitions: Sequence[Any], timeout: float) -> list[Any]:
        found = [self.offsets.get(PartitionKey(each.topic, each.partition), (-1001, "")) for each in partitions]
        return [
            SimpleNamespace(topic=each.topic, partition=each.partition, offset=offset, metadata=note, error=None)
            for each, (offset, note) in zip(partitions, found, strict=True)
        ]

    def get_watermark_offsets(self, partition: Any, timeout: float) -> tuple[int, int]:
        self.meanwhile()
        return 0, self.ends[PartitionKey(partition.topic, partition.partition)]

    def commit(self, offsets: Sequence[Any], asynchronous: bool) -> list[Any]:
        for each in offsets:
            self.offsets[PartitionKey(each.topic, each.partition)] = (each.offset, each.metadata or "")
        return [SimpleNamespace(error=None) for _ in offsets]


def _member(broker: _Broker, begin: Any = "now") -> GroupOffsets:
    kafka = SimpleNamespace(TopicPartition=TopicPartition, KafkaException=KafkaException)
    admin: Any = broker
    return GroupOffsets(kafka, broker, admin, begin)


def test_the_first_member_decides_where_all_partitions_begin() -> None:
    broker = _Broker()
    assert [each.offset for each in _member(broker).starts([A])] == [20]
    broker.ends[B] = 35
    assert [each.offset for each in _member(broker).starts([B])] == [30]


def test_a_slow_member_does_not_move_what_another_has_decided_meanwhile() -> None:
    """The other one may be delivering what lies between, and may be killed before it commits again."""
    broker = _Broker()
    slow = _member(broker)

    def other() -> None:
        broker.meanwhile = lambda: None
        _member(broker).starts([A])
        broker.ends |= {A: 25, B: 35}

    broker.meanwhile = other
    assert [each.offset for each in slow.starts([B])] == [30]
    assert {key: offset for key, (offset, _) in broker.offsets.items()} == {A: 20, B: 30}


def test_an_offset_of_a_topic_that_was_deleted_is_not_one_of_the_topic_with_its_name() -> None:
    broker = _Broker()
    member = _member(broker)
    member.starts([A, B])
    member.commit({A: GroupOffset(15, ONE)})
    assert [each.offset for each in _member(broker).starts([A])] == [15]
    broker.topic_id = TWO
    (found,) = _member(broker).starts([A])
    assert found.offset == 0
    assert found.lost is not None
    assert (found.lost.since, found.lost.count) == (15, None)


def test_a_topic_that_replaces_one_that_was_read_is_read_from_its_beginning() -> None:
    """Brokers discard the offsets of a topic that is deleted."""
    broker = _Broker()
    member = _member(broker)
    member.starts([A, B])
    broker.topic_id = TWO
    broker.offsets.clear()
    found = member.starts([A, B])
    assert [each.offset for each in found] == [0, 0]
    assert all(each.lost is not None and "created anew" in each.lost.reason for each in found)


@pytest.mark.parametrize(
    "note",
    [
        "",
        "by hand",
        "topic-id=",
        "ü" * 1000,
        f"cluster-id=here,topic-id={TWO}more",
        pytest.param(f"cluster-id=there,topic-id={TWO}", id="copied to another cluster"),
    ],
)
def test_an_offset_that_another_tool_has_set_is_used(note: str) -> None:
    broker = _Broker()
    broker.offsets[A] = (7, note)
    assert [each.offset for each in _member(broker).starts([A])] == [7]


def test_a_topic_that_does_not_exist_any_more_keeps_no_other_partition_from_being_read() -> None:
    broker = _Broker()
    broker.topic_id = None
    assert _member(broker).starts([A]) == []


def test_a_partition_that_is_kept_is_begun_anew_although_another_of_its_topic_was_assigned_meanwhile() -> None:
    broker = _Broker()
    member = _member(broker, "oldest")
    member.starts([A])
    broker.topic_id = TWO
    member.starts([B])
    assert member.differ({"changes": TWO}) == {"changes"}
    assert member.recreated({"changes"}) == {A}
    assert member.continues(A, 15, recreated=True).offset == 0
    assert member.differ({"changes": TWO}) == set()


def test_the_next_member_learns_of_what_is_gone_although_the_broker_has_discarded_the_offset() -> None:
    broker = _Broker()
    member = _member(broker)
    member.starts([A, B])
    member.commit({A: GroupOffset(15, ONE)})
    broker.topic_id = TWO
    broker.offsets.clear()
    assert member.recreated({"changes"}) == {A, B}
    member.continues(A, 18, recreated=True)
    (found,) = _member(broker).starts([A])
    assert found.offset == 0
    assert found.lost is not None
    assert found.lost.since == 15


def test_a_topic_that_does_not_exist_any_more_hides_no_other() -> None:
    broker = _Broker()
    other = PartitionKey("others", 0)
    broker.ends[other] = 5
    member = _member(broker)
    member.starts([A, other])
    broker.topic_id = TWO

    def ids(topics: Iterable[str]) -> Mapping[str, str]:
        assert set(topics) == {"changes"}
        return {"changes": TWO}

    broker.ids = ids  # type: ignore[method-assign]
    assert member.recreated(member.differ({"changes": TWO})) == {A}


def test_a_broker_whose_topics_have_no_ids_serves_a_group() -> None:
    broker = _Broker()
    broker.topic_id = ""
    member = _member(broker)
    assert [each.offset for each in member.starts([A])] == [20]
    member.commit({A: GroupOffset(15, None)})
    assert [each.offset for each in _member(broker).starts([A])] == [15]
