"""Standbys: one takes over when the active process ends, hangs or is cut off, and never two deliver at a time."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from mess.demo.replica_set import ReplicaSet
from tests.campaign.processes.setups import SETUPS, standby_scenario
from tests.campaign.processes.standby import StandbyPlayer
from tests.conftest import servers_needed
from tests.servers.network import Network, can_have_namespaces


async def play(
    setup: str, faults: tuple[str, ...], servers: ReplicaSet, store: ReplicaSet, folder: Path
) -> StandbyPlayer:
    """Faults in a setup, judged by the checker."""
    scenario = replace(standby_scenario(random.randrange(10**6), setup), faults=faults)
    player = StandbyPlayer(scenario, servers, store, folder, print)
    (await player.play()).check()
    assert player.happened == list(faults)
    return player


@pytest.mark.parametrize("setup", [pytest.param("plain", marks=pytest.mark.long), "sqlite"])
async def test_a_standby_takes_over_from_a_process_that_ends_or_hangs(
    setup: str, replica_set: ReplicaSet, tmp_path: Path
) -> None:
    """Nothing is lost, order and ids stay, and after it went on, a frozen process sends nothing in its old epoch."""
    player = await play(setup, ("kill", "stop", "freeze"), replica_set, replica_set, tmp_path)
    assert all(player.times[fault] for fault in ("kill", "stop", "freeze"))


async def test_a_state_store_that_is_down_for_longer_than_a_lease_stops_deliveries_and_loses_nothing(
    replica_set: ReplicaSet, own_replica_set: ReplicaSet, tmp_path: Path
) -> None:
    """Nothing is sent while nobody can have renewed the lease, and one process continues."""
    await play("store", ("store pause",), replica_set, own_replica_set, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize("setup", ["plain", "hosts", "three", "store", "clocks", "sqlite"])
async def test_each_fault_of_a_setup(setup: str, own_replica_set: ReplicaSet, tmp_path: Path) -> None:
    """One after another, in any order."""
    if SETUPS[setup].hosts and not can_have_namespaces():
        pytest.skip("needs root, and namespaces")
    faults = tuple(random.sample(SETUPS[setup].faults, len(SETUPS[setup].faults)))
    with ReplicaSet(1) as store:
        await play(setup, faults, own_replica_set, store if setup == "store" else own_replica_set, tmp_path)


@pytest.mark.long
async def test_elections_of_mongodb(three_nodes: ReplicaSet, tmp_path: Path) -> None:
    """Primaries that step down, die or hang."""
    await play("elections", SETUPS["elections"].faults, three_nodes, three_nodes, tmp_path)


@pytest.mark.long
@pytest.mark.skipif(not can_have_namespaces(), reason="needs root, and network namespaces")
async def test_a_process_that_is_cut_off_from_mongodb_stops_before_another_takes_over(tmp_path: Path) -> None:
    """Although it reaches the endpoint all the time."""
    with Network() as network, servers_needed(), ReplicaSet(1, host=network.database) as servers:
        scenario = replace(standby_scenario(random.randrange(10**6), "cut"), faults=("cut", "cut standby", "cut"))
        (await StandbyPlayer(scenario, servers, servers, tmp_path, print, network).play()).check()
