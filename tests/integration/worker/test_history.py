"""Records that are no longer there."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from mess.capture.kafka.admin import GroupAdmin
from tests.integration.worker.conftest import Group, change
from tests.receiver import Answer
from tests.waiting import until


def remove_before(group: Group, offset: int) -> None:
    """Remove the records of partition 0 before an offset, as the topic's retention does."""
    admin = AdminClient({"bootstrap.servers": group.broker.address, "log_level": 0})
    for made in admin.delete_records([TopicPartition(group.topic, 0, offset)]).values():
        made.result(20)


def commit(group: Group, offset: int) -> None:
    """Let the group be there in partition 0."""
    consumer = Consumer({"bootstrap.servers": group.broker.address, "group.id": group.name, "log_level": 0})
    consumer.commit(offsets=[TopicPartition(group.topic, 0, offset)], asynchronous=False)
    consumer.close()


def put(group: Group, first: int, last: int, size: int = 0) -> None:
    """Records in partition 0, numbered, with documents of this size."""
    for n in range(first, last):
        group.put(change(n, 0, "x" * size), "0", 0)
    group.flush()


def newest(group: Group) -> int:
    """The greatest number among the last requests."""
    return max(request.json["fullDocument"]["n"] for request in group.receiver.requests[-20:])


async def gaps(worker: Any) -> list[Any]:
    """Those that are stored."""
    found: list[Any] = await worker.store.gaps()
    return found


async def test_a_partition_whose_records_are_gone_stops_and_says_so(group: Group) -> None:
    put(group, 0, 10)
    commit(group, 2)
    remove_before(group, 5)
    async with group.running() as worker:
        name = f"{group.topic}[0]"
        await until(lambda: any(name in problem for problem in worker.status.problems()), "no problem shown", 30)
        await asyncio.sleep(0.3)
        found = await gaps(worker)
    assert [(gap.stream, gap.open) for gap in found] == [(name, True)]
    assert "from offset 2 to 4" in found[0].reason
    assert group.numbers() == []
    assert group.committed()[0] == 2


async def test_transactions_leave_no_lag_and_no_false_loss(group: Group, protocol: str) -> None:
    """Their markers, and the records of those that were aborted, are no records that wait, or that are lost as soon as
    the topic's retention has removed them."""
    settings = {"bootstrap.servers": group.broker.address, "transactional.id": group.name, "log_level": 0}
    producer = Producer(settings)
    producer.init_transactions(20)

    def put_together(first: int, last: int, end: Any) -> None:
        producer.begin_transaction()
        for n in range(first, last):
            producer.produce(group.topic, change(n, 0), b"0", 0)
        producer.flush(20)
        end(20)

    put_together(0, 10, producer.commit_transaction)
    put_together(10, 15, producer.abort_transaction)
    end = 17
    async with group.running(kafka={"config": {"group.protocol": protocol}}) as worker:
        await group.receiver.wait_for_events(10, 30)

        def lag() -> int | None:
            assert worker.group is not None
            return next((each.lag for each in worker.group.assigned if each.partition == 0), None)

        await until(lambda: lag() == 0, "it shows a lag though nothing is left to deliver", 20)
        await until(lambda: group.committed()[0] == end, "the end is not committed", 20)
    remove_before(group, end)
    async with group.running(kafka={"config": {"group.protocol": protocol}}) as worker:
        put_together(15, 16, producer.commit_transaction)
        await group.receiver.wait_for_events(11, 30)
        assert await gaps(worker) == []
    assert group.numbers() == [*range(10), 15]


async def test_with_now_the_gap_is_recorded_and_the_rest_is_delivered(group: Group) -> None:
    put(group, 0, 10)
    commit(group, 2)
    remove_before(group, 5)
    async with group.running(on_history_lost="now") as worker:
        await group.receiver.wait_for_events(5, 30)
        (gap,) = await gaps(worker)
    assert (gap.stream, gap.open, gap.count) == (f"{group.topic}[0]", False, 3)
    assert (gap.first, gap.last) == (f"{group.topic}[0]@2", f"{group.topic}[0]@4")
    assert group.numbers() == [5, 6, 7, 8, 9]


async def test_a_topic_that_was_created_anew_is_read_from_its_beginning(group: Group) -> None:
    put(group, 0, 5)
    commit(group, 50)
    async with group.running(on_history_lost="now", gaps="deliver") as worker:
        await group.receiver.wait_for_events(6, 30)
        (gap,) = await gaps(worker)
    assert "before the group's offset 50" in gap.reason
    reports = [event.body for event in group.receiver.accepted if event.body["operationType"] == "mess.gap"]
    assert len(reports) == 1


async def test_records_that_are_removed_while_a_worker_waits(group: Group) -> None:
    """It had read some of them, and waited for its endpoint."""
    group.receiver.answer = Answer(503)
    put(group, 0, 600, 8000)  # more than is read ahead
    window = {"max_events": 40}
    async with group.running(on_history_lost="now", window=window, order="none") as worker:
        await group.receiver.wait_for(3, 30)
        await asyncio.sleep(1)
        remove_before(group, 590)
        group.receiver.answer = Answer()
        await until(lambda: newest(group) == 599, "the rest is not delivered", 60)
        (gap,) = await gaps(worker)
    numbers = set(group.numbers())
    lost = set(range(int(gap.first.partition("@")[2]), int(gap.last.partition("@")[2]) + 1))
    assert max(lost) == 589
    assert numbers | lost == set(range(600))
    assert not numbers & lost


async def test_a_topic_that_is_deleted_and_created_anew_while_a_worker_runs(group: Group, protocol: str) -> None:
    """Its records have the offsets of others that are done."""
    put(group, 0, 10)
    kafka = {"config": {"group.protocol": protocol}}
    async with group.running(on_history_lost="now", kafka=kafka) as worker:
        await group.receiver.wait_for_events(10, 30)
        await until(lambda: group.committed().get(0) == 10, "not committed", 20)
        await asyncio.to_thread(recreate, group)
        put(group, 100, 130)
        await until(lambda: newest(group) == 129, "the new topic is not read", 60)
        await until(lambda: set(range(100, 130)) <= set(group.numbers()), "its first records are not read", 60)
        found = await gaps(worker)
    assert sorted(gap.stream for gap in found) == [f"{group.topic}[{n}]" for n in range(group.broker.PARTITIONS)]
    assert all(gap.count is None and "created anew" in gap.reason for gap in found)


async def test_what_is_done_of_a_deleted_topic_is_not_taken_for_done_in_the_new_one(
    group: Group, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The worker stops between: it knows of the new topic, and is not done with what it has read of the old one."""
    monkeypatch.setattr("mess.relay.kafka.group_watch._ASK_AGAIN", 0.5)
    options: dict[str, Any] = {
        "on_history_lost": "now",
        "kafka": {"config": {"group.protocol": "classic"}},
        "window": {"max_events": 4},
        "shutdown_grace": "500ms",
    }
    put(group, 0, 10)
    said: list[str] = []

    def noticed() -> bool:
        said.append(capsys.readouterr().out)
        return f"stream={group.topic}[0]" in "".join(said) and "history lost" in "".join(said)

    async with group.running(**options):
        await group.receiver.wait_for_events(10, 30)
        await until(lambda: group.committed().get(0) == 10, "not committed", 20)
        group.receiver.answer = Answer(503)
        put(group, 10, 40)
        await group.receiver.wait_for(12, 30)
        await asyncio.to_thread(recreate, group)
        put(group, 100, 130)
        await until(noticed, "not noticed", 60)
    group.receiver.answer = Answer()
    async with group.running(**options) as worker:
        await until(lambda: set(range(100, 130)) <= set(group.numbers()), "its first records are not read", 30)
        found = {gap.stream: gap for gap in await gaps(worker)}
    assert (found[f"{group.topic}[0]"].since, found[f"{group.topic}[0]"].count) == (None, None)


def recreate(group: Group) -> None:
    """Delete the topic, and create it anew."""
    admin = AdminClient({"bootstrap.servers": group.broker.address, "log_level": 0})
    admin.delete_topics([group.topic])[group.topic].result(20)
    deadline = time.monotonic() + 20
    while group.topic in admin.list_topics(timeout=5).topics and time.monotonic() < deadline:
        time.sleep(0.05)
    group.broker.create(group.topic)


async def test_a_topic_that_is_deleted_just_before_a_member_asks_for_it(
    group: Group, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot be told when a broker deletes one. Here, it is there again a moment later."""
    put(group, 0, 10)
    there, gone = GroupAdmin.ids, [{}, {}]
    monkeypatch.setattr(GroupAdmin, "ids", lambda admin, topics: gone.pop() if gone else there(admin, topics))
    async with group.running(kafka={"config": {"group.protocol": protocol}}) as worker:
        await group.receiver.wait_for_events(10, 30)
        assert await gaps(worker) == []
    assert not gone
    assert group.committed()[0] == 10
