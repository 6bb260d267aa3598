"""Detects containers, where `localhost` is not the machine that the user may think of."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

_MARKERS = (".dockerenv", "run/.containerenv")
_RUNTIMES = ("docker", "containerd", "kubepods", "libpod", "lxc", "crio")


@cache
def in_container(root: Path = Path("/")) -> bool:
    """Whether this process runs in a container.

    Checks the marker files of Docker and Podman, the environment variables of Kubernetes, and the first process's
    cgroup. `root` is the root of the file system.
    """
    if "KUBERNETES_SERVICE_HOST" in os.environ or any((root / marker).exists() for marker in _MARKERS):
        return True
    try:
        cgroup = (root / "proc/1/cgroup").read_text(errors="replace")
    except OSError:
        return False
    return any(runtime in cgroup for runtime in _RUNTIMES)


def localhost_hint(hosts: Iterable[str]) -> str:
    """A hint to append if one of `hosts` (names or addresses, without ports) is localhost and this is a container;
    otherwise an empty text."""
    if not in_container() or not any(map(_is_localhost, hosts)):
        return ""
    return (
        "MESS runs in a container, where localhost is the container itself: use the other container's service name, "
        "or host.docker.internal for the host"
    )


def host_names(netloc: str) -> list[str]:
    """The hosts in a url's `host:port,host:port`, without ports and without the brackets of IPv6 addresses."""
    return [host_of(each) for each in netloc.split(",") if each]


def host_of(address: str) -> str:
    """The host in `host:port`, `host`, `[::1]:port` or `[::1]`."""
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def _is_localhost(host: str) -> bool:
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
