"""The Compose file on a real engine: every way in which a container ends, and that the next one goes on."""

from __future__ import annotations

import os
import signal
import time

from tests.docker.compose import Project, docker

SOON = 10.0  # seconds until a container that is started again is ready, on a machine with other work to do


def test_a_change_is_logged_with_little_rights(project: Project) -> None:
    """As docs/docker.md shows it, as a user without rights on a read-only file system, and healthy."""
    project.insert(1)
    assert project.delivered(1)
    mess = project.container()
    assert docker("exec", mess, "id", "-u").stdout.strip() == "10001"
    refused = docker("exec", mess, "touch", "/opt/mess/x", check=False)
    assert "Read-only file system" in refused.stderr
    deadline = time.monotonic() + 60
    while (health := project.inspect(mess)["State"]["Health"]["Status"]) == "starting" and time.monotonic() < deadline:
        time.sleep(1)
    assert health == "healthy"


def test_stop_ends_in_order(project: Project) -> None:
    """Exit code 0 within the grace period; what is written meanwhile arrives after the next start, once."""
    mess = project.container()
    began = time.monotonic()
    project.compose("stop", "mess")
    assert time.monotonic() - began < 15
    assert project.inspect(mess)["State"]["ExitCode"] == 0
    project.insert(2)
    project.up()
    assert project.delivered(2)
    assert project.log().count('"documentKey":{"_id":2}') == 1


def test_restart(project: Project) -> None:
    """The same container: it is ready again at once, and misses nothing."""
    project.compose("restart", "mess")
    assert project.ready() < SOON
    project.insert(3)
    assert project.delivered(3)


def test_recreate(project: Project) -> None:
    """Another container of the same name, as after an upgrade: the old one has released its place."""
    before = project.container()
    project.compose("up", "--detach", "--force-recreate", "--no-deps", "mess")
    assert project.ready() < SOON
    assert project.container() != before
    project.insert(4)
    assert project.delivered(4)


def test_a_killed_process_is_started_again(project: Project) -> None:
    """SIGKILL to the process, as the kernel does it when memory runs out: Docker starts the container again, and the
    relay does not wait for itself."""
    mess = project.container()
    project.insert(5)
    assert project.delivered(5)
    pid = project.inspect(mess)["State"]["Pid"]
    os.kill(pid, signal.SIGKILL)
    project.insert(6)
    assert project.ready() < SOON
    assert project.inspect(mess)["RestartCount"] == 1
    assert project.delivered(6)


def test_a_lost_host(project: Project) -> None:
    """A container that vanishes releases nothing. The next one takes its place within 20 seconds and misses nothing."""
    lost = project.container()
    docker("rm", "--force", lost)
    project.insert(7)
    began = time.monotonic()
    project.compose("up", "--detach", "--no-deps", "mess")
    project.ready()
    assert time.monotonic() - began < 20
    assert project.container() != lost
    assert project.delivered(7)


def test_a_changed_config_is_applied(project: Project) -> None:
    """In the same container, soon after the file is saved."""
    mess = project.container()
    file = project.config / "config.yml"
    file.write_text(file.read_text().replace("  - log\n", "  - {name: log, config: {max_bytes: 4KiB}}\n"))
    deadline = time.monotonic() + 20
    while '"config reloaded"' not in project.log():
        assert time.monotonic() < deadline, project.log()
        time.sleep(0.5)
    assert project.container() == mess
    project.insert(8)
    assert project.delivered(8)
