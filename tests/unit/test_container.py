"""A process in a container is told what localhost means there."""

from __future__ import annotations

from pathlib import Path

import pytest

from mess import container
from mess.container import host_names, in_container, localhost_hint


@pytest.fixture(autouse=True)
def _not_in_kubernetes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


@pytest.mark.parametrize("marker", [".dockerenv", "run/.containerenv"])
def test_markers_of_docker_and_podman(tmp_path: Path, marker: str) -> None:
    assert not in_container(tmp_path)
    other = tmp_path / "other"
    (other / marker).parent.mkdir(parents=True)
    (other / marker).touch()
    assert in_container(other)


@pytest.mark.parametrize(
    ("cgroup", "expected"),
    [
        ("12:pids:/docker/3f1c\n", True),
        ("0::/kubepods.slice/pod1/cri-containerd-3f1c.scope\n", True),
        ("0::/init.scope\n", False),
        ("0::/\n", False),
    ],
)
def test_cgroups_of_container_runtimes(tmp_path: Path, cgroup: str, expected: bool) -> None:
    (tmp_path / "proc/1").mkdir(parents=True)
    (tmp_path / "proc/1/cgroup").write_text(cgroup)
    assert in_container(tmp_path) == expected


def test_kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    assert in_container(tmp_path)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "mongo.localhost", "127.0.0.1", "127.8.0.1", "::1"])
def test_only_localhost_in_a_container_gets_the_hint(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    monkeypatch.setattr(container, "in_container", lambda: True)
    assert "localhost is the container itself" in localhost_hint(["mongo", host])
    assert localhost_hint(["mongo", "10.0.0.1", "localhost.example.com"]) == ""
    monkeypatch.setattr(container, "in_container", lambda: False)
    assert localhost_hint([host]) == ""


def test_hosts_of_a_url() -> None:
    assert host_names("a:1,b,[::1]:5,[::2]") == ["a", "b", "::1", "::2"]
