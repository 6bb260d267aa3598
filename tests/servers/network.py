"""Network namespaces whose way to MongoDB can be cut while that to receivers stays: Linux, as root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from types import TracebackType
from typing import Self


def can_have_namespaces() -> bool:
    """Whether this process may make network namespaces."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    probe = f"mess-probe-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", probe], capture_output=True, check=False)
    _ip("netns", "del", probe, check=False)
    return made.returncode == 0


class Network:
    """Two addresses of this machine, `database` and `receiver`, that namespaces reach through a link each."""

    def __init__(self) -> None:
        self.number = os.getpid() % 63
        self.database = f"10.{128 + self.number}.0.1"
        self.receiver = f"10.{191 + self.number}.0.1"
        self._spaces: list[Namespace] = []

    def namespace(self) -> Namespace:
        """Another namespace."""
        self._spaces.append(Namespace(self, len(self._spaces) + 1))
        return self._spaces[-1]

    def __enter__(self) -> Self:
        for address in (self.database, self.receiver):
            _ip("addr", "add", f"{address}/32", "dev", "lo")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for space in self._spaces:
            _ip("netns", "del", space.name, check=False)
        for address in (self.database, self.receiver):
            _ip("addr", "del", f"{address}/32", "dev", "lo", check=False)


class Namespace:
    """One namespace; `prefix` before a command runs it there, and `address` is where to reach what it serves."""

    def __init__(self, network: Network, number: int) -> None:
        self.name = f"mess-{network.number}-{number}"
        self.prefix = ("ip", "netns", "exec", self.name)
        self.address = network.receiver.replace(".0.1", f".{number}.2")
        self._link = f"md{network.number}-{number}"
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("netns", "del", self.name)
        _ip("netns", "add", self.name)
        _ip("-n", self.name, "link", "set", "lo", "up")
        for target, link in ((network.database, self._link), (network.receiver, f"mr{network.number}-{number}")):
            outside, inside = (target.replace(".0.1", f".{number}.{end}") for end in (1, 2))
            _ip("link", "add", link, "type", "veth", "peer", "name", link[:2], "netns", self.name)
            _ip("addr", "add", f"{outside}/24", "dev", link)
            _ip("link", "set", link, "up")
            _ip("-n", self.name, "addr", "add", f"{inside}/24", "dev", link[:2])
            _ip("-n", self.name, "link", "set", link[:2], "up")
            _ip("-n", self.name, "route", "add", f"{target}/32", "via", outside)

    def cut(self) -> None:
        """Lose every packet from and to the database."""
        _ip("link", "set", self._link, "down")

    def heal(self) -> None:
        """Undo `cut`."""
        _ip("link", "set", self._link, "up")


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True)
