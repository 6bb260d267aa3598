"""The identity of this process, and whether another one may still be running."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import socket
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

_CGROUP = re.compile(r"[/-]([0-9a-f]{64})(?:\.scope)?(?=/|$)")
# Docker, Podman and nerdctl mount these files from a directory named after the container.
_MOUNTED = re.compile(r"/[\w-]*containers/(?:[\w.-]+/)?([0-9a-f]{64})/")
_MOUNT_POINTS = {"/etc/hostname", "/etc/hosts", "/etc/resolv.conf"}
_UPPER = re.compile(r"\bupperdir=([^,\s]+)")


@dataclass(frozen=True, slots=True)
class Instance:
    """One run of a relay, and the process that it is in.

    `id` is random. `boot` is the kernel's boot id, the same in all containers of a host and different on every other
    host. `namespace` names the pid namespace. `started` is when the process started, in clock ticks since boot.
    `container` names the container and survives its restart. Each is empty (0) if unknown.
    """

    id: str
    host: str
    pid: int
    boot: str = ""
    namespace: str = ""
    started: int = 0
    container: str = ""

    @classmethod
    def current(cls) -> Instance:
        """A new instance in this process."""
        return replace(_this_process(os.getpid()), id=secrets.token_hex(6))

    def is_in(self, process: Instance) -> bool:
        """Whether it is, or was, in the same process as another instance."""
        return self._sees(process) and (self.pid, self.started) == (process.pid, process.started)

    def has_ended(self, here: Instance) -> bool:
        """Whether its process is known to have ended, as seen from an instance in this process.

        False also means that this cannot be known from here, for example because it is on another host.
        """
        if self._sees(here):
            return not _runs(self.pid, self.started)
        # The container was restarted, with a new pid namespace, or together with its host.
        restarted = self.boot != here.boot or bool(self.namespace and here.namespace)
        return bool(self.container) and self.container == here.container and restarted

    def runs_here(self, here: Instance) -> bool:
        """Whether its process is running, and its pid means the same in the process of another instance."""
        return self._sees(here) and _runs(self.pid, self.started)

    def _sees(self, other: Instance) -> bool:
        """Whether the pids of both refer to the same processes."""
        return bool(self.boot and self.namespace) and (self.boot, self.namespace) == (other.boot, other.namespace)

    def __str__(self) -> str:
        container = f", container {self.container[:12]}" if self.container else ""
        return f"process {self.pid} on host {self.host}{container} (instance {self.id})"


def container_id(cgroup: str, mountinfo: str) -> str:
    """The container's id from `/proc/self/cgroup` and `/proc/self/mountinfo`; empty outside of a container, or if
    unknown.

    What containers share (such as the network's files, in a pod) does not identify one of them.
    """
    for line in cgroup.splitlines():
        if found := _CGROUP.findall(line):
            return str(found[-1])  # the innermost, if containers are nested
    # In its own cgroup namespace, a container does not see its name there.
    mounts = [fields for line in mountinfo.splitlines() if len(fields := line.split()) > 5]
    ids = [match[1] for fields in mounts if fields[4] in _MOUNT_POINTS and (match := _MOUNTED.search(fields[3]))]
    if not ids:
        return ""
    # With a shared network, these files belong to another container, but the writable layer is always its own.
    layers = [match[1] for fields in mounts if fields[4] == "/" and (match := _UPPER.search(fields[-1]))]
    return ids[0] + "".join(f"-{hashlib.sha256(layer.encode()).hexdigest()[:12]}" for layer in layers[:1])


@cache
def _this_process(pid: int) -> Instance:
    # If /proc belongs to another pid namespace, its pids refer to other processes.
    own = _link("/proc/self") == str(pid)
    stat = _stat(pid) if own else None
    return Instance(
        id="",
        host=socket.gethostname(),
        pid=pid,
        boot=_text("/proc/sys/kernel/random/boot_id").strip(),
        namespace=_link("/proc/self/ns/pid") if own else "",
        started=stat[1] if stat else 0,
        container=container_id(_text("/proc/self/cgroup"), _text("/proc/self/mountinfo")),
    )


def _runs(pid: int, started: int) -> bool:
    """Whether that process is running; another process that has reused its pid does not count."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it runs, as another user
    stat = _stat(pid)
    if stat is None:
        return True  # hidden from this user
    state, began = stat
    return state not in "ZX" and (not started or began == started)


def _stat(pid: int) -> tuple[str, int] | None:
    """A process's state, and its start time in clock ticks since boot."""
    # The name before the last parenthesis may contain anything.
    fields = _text(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (fields[0], int(fields[19])) if len(fields) > 19 else None


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
