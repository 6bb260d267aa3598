"""Workers that share Kafka's partitions: they come, go, die and hang, and nothing is lost or out of order."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mess.demo.replica_set import ReplicaSet
from tests.campaign.processes.workers import FAULTS, ManyPartitions, WorkersPlayer, workers_scenario
from tests.conftest import servers_needed


@pytest.fixture(scope="module")
def broker() -> Iterator[ManyPartitions]:
    """A broker that these tests may kill."""
    with servers_needed():
        made = ManyPartitions()
    with made as server:
        yield server


async def play(faults: tuple[str, ...], servers: ReplicaSet, broker: ManyPartitions, folder: Path) -> None:
    """Faults one after another, judged by the checker."""
    player = WorkersPlayer(
        replace(workers_scenario(random.randrange(10**6)), faults=faults), servers, broker, folder, print
    )
    (await player.play()).check()
    assert player.happened == list(faults)


async def test_workers_die_and_leave_and_events_are_refused(
    replica_set: ReplicaSet, broker: ManyPartitions, tmp_path: Path
) -> None:
    """Every change arrives, in order per document and under its id, but for those that the endpoint refused."""
    await play(("kill", "poison", "unreadable", "leave and join"), replica_set, broker, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
async def test_each_fault(fault: str, replica_set: ReplicaSet, broker: ManyPartitions, tmp_path: Path) -> None:
    """Several times."""
    await play((fault,) * 3, replica_set, broker, tmp_path)
