"""A group's offsets, as one of its members asks for them and commits them."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

from mess.capture.kafka.admin import GroupAdmin
from mess.capture.kafka.places import GroupOffset, PartitionKey, Range, Start, begins, start

_ASK_SECONDS = 5.0
_NOTE = re.compile(r"cluster-id=([\w-]{1,100}),topic-id=([\w-]{22})")


class GroupOffsets:
    """Asks and commits through a `consumer`; partitions without an offset begin at `begin`. Everything blocks, and
    raises KafkaException.

    A topic that was deleted and created anew has offsets of the same numbers for other records. So every commit carries
    the id of its topic, and the cluster's, since tools that copy offsets to another cluster copy the note, too. Members
    of one group may notice at different times, and a member may keep some of the topic's partitions while it gets
    others: what is known is known for each partition.
    """

    def __init__(self, kafka: Any, consumer: Any, admin: GroupAdmin, begin: Literal["oldest", "now"]) -> None:
        self._kafka = kafka
        self._consumer = consumer
        self._admin = admin
        self._begin = begin
        self._ids: dict[str, str] = {}
        self._assigned: dict[PartitionKey, str | None] = {}
        self._newest: dict[PartitionKey, GroupOffset] = {}

    def partition(self, key: PartitionKey, offset: int | None = None, topic_id: str | None = None) -> Any:
        """The client's object for a partition, or for an offset of it."""
        if offset is None:
            return self._kafka.TopicPartition(*key)
        note = () if topic_id is None else (f"cluster-id={self._admin.cluster_id},topic-id={topic_id}",)
        return self._kafka.TopicPartition(*key, offset, *note)

    def starts(self, keys: Collection[PartitionKey]) -> list[Start]:
        """Where these partitions begin, which are assigned, without those of topics that do not exist any more. What is
        decided about those without an offset is committed."""
        before = dict(self._ids)
        existing = self._admin.ids({key.topic for key in keys})
        self._ids |= {topic: topic_id for topic, topic_id in existing.items() if topic_id}
        keys = [key for key in keys if key.topic in existing]
        committed = self._committed(keys)
        former = {topic: topic_id for topic, topic_id in before.items() if self._ids[topic] != topic_id}
        for key in keys:
            if committed[key] is None and key.topic in former:
                # The broker has discarded the offset of the former topic. Nobody knows what was not read of that.
                committed[key] = GroupOffset(0, former[key.topic])
        new = self._new({key.topic for key in keys if committed[key] is None})
        held = {key: self._held(key) for key in {*keys, *new}}
        # Another member may have decided meanwhile, and delivered since.
        decided = self._committed(new)
        committed |= {key: each for key, each in decided.items() if each is not None}
        starts = [self._start(key, committed[key], held[key], new.get(key, "oldest")) for key in keys]
        # Those of the other members too: else these would find a topic that the group knows.
        places = [self._start(key, None, held[key], new[key]) for key, each in decided.items() if each is None]
        if places:
            self.commit({each.key: GroupOffset(each.offset, each.topic_id) for each in places})
        for each in starts:
            self._assigned[each.key] = each.topic_id
            self._newest[each.key] = committed[each.key] or GroupOffset(each.offset, each.topic_id)
        return starts

    def drop(self, keys: Collection[PartitionKey]) -> None:
        """These partitions are not assigned any more."""
        for key in keys:
            self._assigned.pop(key, None)
            self._newest.pop(key, None)

    def continues(self, key: PartitionKey, read: int, *, recreated: bool) -> Start:
        """Where an assigned partition continues of which everything before the offset `read` was read."""
        topic_id = self._ids.get(key.topic)
        found = start(key, read, self._held(key), "oldest", recreated=recreated, topic_id=topic_id)
        if recreated:
            # The broker may have discarded the offset of the former topic, without which the next member would not know
            # of what is gone.
            if self._committed([key])[key] is None:
                self.commit({key: self._newest[key]})
            self._assigned[key] = topic_id
        return found

    def differ(self, ids: Mapping[str, str]) -> set[str]:
        """The topics whose id among these is not that of an assigned partition; these may be the older ones."""
        return {
            key.topic for key, each in self._assigned.items() if each is not None and ids.get(key.topic, each) != each
        }

    def recreated(self, topics: Collection[str]) -> set[PartitionKey]:
        """The assigned partitions of those among these topics that were created anew."""
        found = {topic: topic_id for topic, topic_id in self._admin.ids(topics).items() if topic_id}
        self._ids |= found
        return {
            key
            for key, each in self._assigned.items()
            if key.topic in topics and each is not None and found.get(key.topic, each) != each
        }

    def commit(self, offsets: Mapping[PartitionKey, GroupOffset]) -> None:
        """Commit these, and wait for the answer."""
        self._raise(self._consumer.commit(offsets=self._partitions(offsets), asynchronous=False))

    def begin_commit(self, offsets: Mapping[PartitionKey, GroupOffset]) -> None:
        """Commit these; the consumer's `on_commit` gets the answer."""
        self._consumer.commit(offsets=self._partitions(offsets), asynchronous=True)

    def _start(
        self, key: PartitionKey, committed: GroupOffset | None, held: Range, begin: Literal["oldest", "now"]
    ) -> Start:
        topic_id = self._ids.get(key.topic)
        offset, noted = (None, None) if committed is None else committed
        recreated = noted is not None and topic_id is not None and noted != topic_id
        return start(key, offset, held, begin, recreated=recreated, topic_id=topic_id)

    def _partitions(self, offsets: Mapping[PartitionKey, GroupOffset]) -> list[Any]:
        self._newest |= {key: each for key, each in offsets.items() if key in self._assigned}
        return [self.partition(key, *each) for key, each in offsets.items()]

    def _new(self, topics: Collection[str]) -> dict[PartitionKey, Literal["oldest", "now"]]:
        """The partitions of these topics that have no offset, and where each begins."""
        new: dict[PartitionKey, Literal["oldest", "now"]] = {}
        # Not `Consumer.list_topics`: in a callback of the same consumer, it makes the next callback abort the process
        # (confluent-kafka's `CallState_end` forgets the thread's state).
        for topic in topics:
            all_of_it = [PartitionKey(topic, number) for number in self._admin.numbers(topic)]
            new |= begins(self._committed(all_of_it), self._begin)
        return new

    def _committed(self, keys: Collection[PartitionKey]) -> dict[PartitionKey, GroupOffset | None]:
        if not keys:
            return {}
        found = self._consumer.committed([self.partition(key) for key in keys], timeout=_ASK_SECONDS)
        self._raise(found)
        return {PartitionKey(each.topic, each.partition): self._read(each) for each in found}

    def _read(self, partition: Any) -> GroupOffset | None:
        if partition.offset < 0:
            return None
        note = _NOTE.fullmatch(partition.metadata or "")
        topic_id = None if note is None or note[1] != self._admin.cluster_id else note[2]
        return GroupOffset(partition.offset, topic_id)

    def _held(self, key: PartitionKey) -> Range:
        return Range(*self._consumer.get_watermark_offsets(self.partition(key), timeout=_ASK_SECONDS))

    def _raise(self, partitions: Sequence[Any]) -> None:
        for each in partitions:
            if each.error is not None:
                raise self._kafka.KafkaException(each.error)
