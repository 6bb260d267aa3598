"""Ports that nothing else takes."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mess.demo.ports import free_port

_TAKE = "from mess.demo.ports import free_port; print(*(free_port() for _ in range(200)), flush=True); input()"


def test_no_outgoing_connection_gets_one() -> None:
    ephemeral = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not ephemeral.exists():
        pytest.skip("not Linux")
    first, _ = map(int, ephemeral.read_text().split())
    assert all(port < first for port in (free_port() for _ in range(100)))


@pytest.mark.skipif(sys.platform != "linux", reason="processes keep out of each other's way on Linux alone")
def test_processes_get_different_ones() -> None:
    processes = [
        subprocess.Popen([sys.executable, "-c", _TAKE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    ports: list[str] = []
    for process in processes:
        assert process.stdout
        ports += process.stdout.readline().split()
    for process in processes:
        process.communicate("\n")
    assert len(ports) == len(set(ports)) == 1200


def test_threads_get_different_ones() -> None:
    """The servers of a replica set are started in threads."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            ports = list(pool.map(lambda _: free_port(), range(2000)))
    finally:
        sys.setswitchinterval(before)
    assert len(set(ports)) == 2000
