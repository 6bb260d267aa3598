"""What operators do with a worker: check its config, and reload it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mess.app import Relay
from mess.capture.kafka.readiness import examine
from mess.config.model import KafkaSource
from mess.errors import ConfigError
from tests.conftest import servers_needed
from tests.integration.worker.conftest import Group
from tests.receiver import Receiver
from tests.servers.kafka import KafkaServer
from tests.waiting import until


async def findings(group: Group, **options: object) -> list[tuple[bool, str]]:
    """Those of `mess check` about Kafka."""
    kafka = group.config(kafka=options)["source"]["kafka"]
    source = KafkaSource.model_validate(kafka)
    return [(each.ok, each.what) async for each in examine(source, group.folder, 5.0)]


async def test_check_reports_brokers_topics_and_group(group: Group) -> None:
    broker, topic, members = await findings(group)
    assert broker[0]
    assert "group protocol consumer, session timeout 6 s" in broker[1]
    assert topic == (True, f"topic {group.topic} has 4 partitions: that many workers can share it")
    begins = "it has no offsets yet, and will begin with `start: oldest`"
    assert members == (True, f"group {group.name} may be read, and has 0 members now; {begins}")


async def test_check_reports_how_far_the_group_is_behind(group: Group) -> None:
    group.write(40)
    async with group.running():
        await group.receiver.wait_for_events(40, 30)
        await until(lambda: sum(group.committed().values()) == 40, "not committed", 20)
        assert (await findings(group))[-1][1].endswith("has 1 member now; 0 messages behind")
    group.write(1)
    assert (await findings(group))[-1][1].endswith("has 0 members now; 1 message behind")


async def test_check_names_what_is_missing(group: Group) -> None:
    found = await findings(group, topics=["no-such-topic"])
    assert found[1] == (False, "topic no-such-topic does not exist, or this user may not see it")
    [(ok, text)] = await findings(group, url="kafka://127.0.0.1:1")
    assert not ok
    assert "the connection is refused" in text


async def test_a_reload_replaces_a_pipeline_and_keeps_the_partitions(group: Group, receiver: Receiver) -> None:
    path = group.folder / "workers.yml"
    path.write_text(yaml.safe_dump(group.config()))
    group.write(40)
    async with Receiver() as other, group.running(Relay.from_config(path, environ={})) as worker:
        await receiver.wait_for_events(40, 30)
        http = {"name": "http", "config": {"endpoint": other.url}}
        path.write_text(yaml.safe_dump(group.config(pipeline=[http])))
        result = await worker.reload()
        assert result.ok, result.text
        group.write(40)
        await other.wait_for_events(40, 30)
        assert worker.group is not None
        assert worker.group.rebalances == 1
        moved = group.config(pipeline=[http], kafka={"group": "another"})
        path.write_text(yaml.safe_dump(moved))
        result = await worker.reload()
        assert not result.ok
        assert "source.kafka.group cannot be changed while the relay runs; restart it" in "\n".join(result.text)
    assert len(receiver.accepted) == 40


@pytest.mark.long
async def test_a_protocol_that_the_brokers_do_not_have_is_a_mistake(tmp_path: Path, receiver: Receiver) -> None:
    with servers_needed():
        made = KafkaServer(group_coordinator_rebalance_protocols="classic")
    with made as server:
        group = Group(server, tmp_path, receiver)
        [broker, *_] = await findings(group)
        assert "group protocol classic" in broker[1]
        with pytest.raises(ConfigError, match="brokers do not have this protocol; leave it out"):
            await group.worker(kafka={"config": {"group.protocol": "consumer"}}).run()
        group.write(40)
        async with group.running():
            await receiver.wait_for_events(40, 30)
