"""A group's offsets, as one of its members asks for them and commits them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from mess.capture.kafka.admin import GroupAdmin
from mess.capture.kafka.places import PartitionKey, Range, Start, begins, start

_ASK_SECONDS = 5.0
_TOPIC_ID = "topic-id="


class _Committed(NamedTuple):
    """An offset of the group, None if there is none; and the id of the topic it belongs to, None if nobody noted it."""

    offset: int | None
    topic_id: str | None


class GroupOffsets:
    """Asks and commits through a `consumer`; partitions without an offset begin at `begin`. Everything blocks, and
    raises KafkaException.

    A topic that was deleted and created anew has offsets of the same numbers for other records. So every commit carries
    the id of the topic that it is for.
    """

    def __init__(self, kafka: Any, consumer: Any, admin: GroupAdmin, begin: Literal["oldest", "now"]) -> None:
        self._kafka = kafka
        self._consumer = consumer
        self._admin = admin
        self._begin = begin
        self._ids: dict[str, str] = {}

    def partition(self, key: PartitionKey, offset: int | None = None) -> Any:
        """The client's object for a partition, or for an offset of it."""
        if offset is None:
            return self._kafka.TopicPartition(*key)
        topic_id = self._ids.get(key.topic)
        return self._kafka.TopicPartition(*key, offset, _TOPIC_ID + topic_id if topic_id else "")

    def starts(self, keys: Collection[PartitionKey]) -> list[Start]:
        """Where these partitions begin, without those of topics that do not exist any more. What is decided about those
        without an offset is committed."""
        before = dict(self._ids)
        existing = self._admin.ids({key.topic for key in keys})
        self._ids |= existing
        keys = [key for key in keys if key.topic in existing]
        committed = self._committed(keys)
        known = {topic for topic, topic_id in before.items() if self._ids[topic] != topic_id}
        new = self._new({key.topic for key in keys if committed[key].offset is None}, known)
        held = {key: self._held(key) for key in {*keys, *new}}
        # Another member may have decided meanwhile, and delivered since.
        decided = self._committed(new)
        committed |= {key: each for key, each in decided.items() if each.offset is not None}
        starts = [
            start(
                key,
                committed[key].offset,
                held[key],
                new.get(key, "oldest"),
                recreated=self._recreated(key, committed[key]),
            )
            for key in keys
        ]
        # Those of the other members too: else these would find a topic that the group knows.
        places = [start(key, None, held[key], new[key]) for key, each in decided.items() if each.offset is None]
        if places:
            self.commit({each.key: each.offset for each in places})
        return starts

    def continues(self, key: PartitionKey, read: int, *, recreated: bool) -> Start:
        """Where a partition continues of which everything before the offset `read` was read."""
        return start(key, read, self._held(key), "oldest", recreated=recreated)

    def differ(self, ids: Mapping[str, str]) -> bool:
        """Whether a topic's id among these is not the one of the last assignment; these may be the older ones."""
        return any((self._ids.get(topic) or each) != each for topic, each in ids.items())

    def recreated(self) -> set[str]:
        """The topics that were created anew since the last assignment; their new ids are known from now on."""
        found = self._admin.ids(self._ids)
        recreated = {topic for topic, topic_id in found.items() if self._ids[topic] not in ("", topic_id)}
        self._ids |= found
        return recreated

    def commit(self, offsets: Mapping[PartitionKey, int]) -> None:
        """Commit these, and wait for the answer."""
        self._raise(self._consumer.commit(offsets=self._partitions(offsets), asynchronous=False))

    def begin_commit(self, offsets: Mapping[PartitionKey, int]) -> None:
        """Commit these; the consumer's `on_commit` gets the answer."""
        self._consumer.commit(offsets=self._partitions(offsets), asynchronous=True)

    def _partitions(self, offsets: Mapping[PartitionKey, int]) -> list[Any]:
        return [self.partition(key, offset) for key, offset in offsets.items()]

    def _new(self, topics: Collection[str], known: Collection[str]) -> dict[PartitionKey, Literal["oldest", "now"]]:
        """The partitions of these topics that have no offset, and where each begins. Nothing was read of topics that
        take the place of `known` ones."""
        new: dict[PartitionKey, Literal["oldest", "now"]] = {}
        # Not `Consumer.list_topics`: in a callback of the same consumer, it makes the next callback abort the process
        # (confluent-kafka's `CallState_end` forgets the thread's state).
        for topic in topics:
            all_of_it = [PartitionKey(topic, number) for number in self._admin.numbers(topic)]
            offsets = {key: each.offset for key, each in self._committed(all_of_it).items()}
            new |= begins(offsets, "oldest" if topic in known else self._begin)
        return new

    def _recreated(self, key: PartitionKey, committed: _Committed) -> bool:
        return committed.topic_id is not None and committed.topic_id != (self._ids.get(key.topic) or committed.topic_id)

    def _committed(self, keys: Collection[PartitionKey]) -> dict[PartitionKey, _Committed]:
        if not keys:
            return {}
        found = self._consumer.committed([self.partition(key) for key in keys], timeout=_ASK_SECONDS)
        self._raise(found)
        return {PartitionKey(each.topic, each.partition): _read(each) for each in found}

    def _held(self, key: PartitionKey) -> Range:
        return Range(*self._consumer.get_watermark_offsets(self.partition(key), timeout=_ASK_SECONDS))

    def _raise(self, partitions: Sequence[Any]) -> None:
        for each in partitions:
            if each.error is not None:
                raise self._kafka.KafkaException(each.error)


def _read(partition: Any) -> _Committed:
    note = partition.metadata or ""
    topic_id = note.removeprefix(_TOPIC_ID) if note.startswith(_TOPIC_ID) else None
    return _Committed(partition.offset if partition.offset >= 0 else None, topic_id)
