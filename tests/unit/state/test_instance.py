"""Which process an instance is, and whether it can still be running."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mess.state.instance import Instance, container_id

ID = "3f2a" * 16
OTHER = "beef" * 16
LAYER = "/var/lib/docker/overlay2/5e0a/diff"


def mounts(*lines: str, layer: str = LAYER) -> str:
    root = f"700 600 0:50 / / rw,relatime - overlay overlay rw,lowerdir=/l/A:/l/B,upperdir={layer},workdir=/w"
    return "\n".join([root, "701 700 0:52 / /proc rw - proc proc rw", *lines])


def mounted(path: str, at: str = "/etc/hostname") -> str:
    return f"710 700 254:1 {path} {at} rw,relatime - ext4 /dev/vda1 rw"


@pytest.mark.parametrize(
    "line",
    [
        f"12:memory:/docker/{ID}",
        f"0::/system.slice/docker-{ID}.scope",
        f"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1234_5678.slice/cri-containerd-{ID}.scope",
        f"11:cpu:/kubepods/besteffort/pod0a1b2c3d-0000-1111-2222-333344445555/{ID}",
        f"0::/machine.slice/libpod-{ID}.scope/container",
        f"4:memory:/docker/{OTHER}/docker/{ID}",
    ],
)
def test_a_container_is_known_by_its_cgroup(line: str) -> None:
    """Docker, containerd, Kubernetes with cgroups of version 1 and 2, Podman, Docker in Docker."""
    assert container_id(f"9:pids:/\n{line}\n", "") == ID


@pytest.mark.parametrize(
    "path",
    [
        f"/var/lib/docker/containers/{ID}/hostname",
        f"/docker/containers/{ID}/hostname",  # from a disk of its own
        f"/var/lib/containers/storage/overlay-containers/{ID}/userdata/hostname",
        f"/home/u/.local/share/nerdctl/1935db59/containers/default/{ID}/hostname",
    ],
)
def test_in_a_cgroup_namespace_it_is_known_by_its_mounts(path: str) -> None:
    """The default with version 2, where /proc/self/cgroup says `/`. The same after a restart, and another one in a
    second container that shares the first one's network, and so these files."""
    found = container_id("0::/\n", mounts(mounted(path)))
    assert found.startswith(ID)
    assert container_id("0::/\n", mounts(mounted(path))) == found
    assert container_id("0::/\n", mounts(mounted(path), layer=f"{LAYER}2")) != found


@pytest.mark.parametrize(
    "line",
    [
        # Mounts of a host that runs containers; and a pod's files, which all its containers share.
        f"31 27 0:30 / /var/lib/docker/containers/{ID}/mounts/shm rw - tmpfs shm rw",
        mounted(f"/var/lib/docker/volumes/containers/{ID}/hostname", at="/data"),
        mounted(f"/var/lib/containerd/io.containerd.grpc.v1.cri/sandboxes/{ID}/resolv.conf", at="/etc/resolv.conf"),
        mounted("/var/lib/kubelet/pods/0a1b2c3d-0000-1111-2222-333344445555/etc-hosts", at="/etc/hosts"),
    ],
)
def test_what_does_not_name_this_container_is_not_taken_for_it(line: str) -> None:
    assert container_id("0::/\n", mounts(line)) == ""


def test_outside_of_a_container_there_is_none() -> None:
    assert (
        container_id("0::/user.slice/user-1000.slice/session-2.scope\n", "27 1 254:0 / / rw - ext4 /dev/vda rw") == ""
    )
    assert container_id("", "") == ""


def test_this_process_is_known() -> None:
    """By what /proc says, and with an id of its own at each start of a relay."""
    one, two = Instance.current(), Instance.current()
    assert one.id != two.id
    assert one.is_in(two)
    assert one.pid == os.getpid()
    assert one.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert one.namespace.startswith("pid:[")
    assert one.started > 0
    assert not one.has_ended(two)
