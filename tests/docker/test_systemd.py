"""deploy/mess.service under a real systemd, which runs as the first process of a container."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.compose import docker

ROOT = Path(__file__).parents[2]
NAME = "mess-test-systemd"
MONGO = f"{NAME}-mongo"
# The system's own Python: the unit hides home directories, where other Pythons may be.
DOCKERFILE = """\
FROM {image}
USER 0
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends systemd procps python3-venv >/dev/null
COPY *.whl /
RUN /usr/bin/python3 -m venv --clear /opt/mess && /opt/mess/bin/pip install --quiet /*.whl && userdel mess
COPY mess.service /etc/systemd/system/
COPY config.yml /etc/mess/
RUN mkdir -p -m 700 /etc/mess/secrets \\
 && printf 'mongodb://{mongo}:27017/?replicaSet=rs0' >/etc/mess/secrets/mongodb-url \\
 && touch /etc/mess/secrets/webhook-token
# As on a host: credentials are mounts that the units see.
ENTRYPOINT ["sh", "-c", "mount -o remount,rw /sys/fs/cgroup; mount --make-rshared / && exec /lib/systemd/systemd"]
"""
CONFIG_FILE = "/etc/mess/config.yml"
CONFIG = """\
mongodb: {url: "${file:/run/credentials/mess.service/mongodb-url}"}
state: {url: "sqlite:////var/lib/mess/mess.sqlite"}
databases: {shop: {}}
pipeline: [log]
"""
FEW = ("--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined")


def systemctl(*arguments: str, check: bool = True) -> str:
    return docker("exec", NAME, "systemctl", *arguments, check=check).stdout.strip()


def journal() -> str:
    """What the unit has logged."""
    return docker("exec", NAME, "journalctl", "--unit=mess", "--no-pager").stdout


def shown(name: str) -> str:
    """A property of the unit."""
    return systemctl("show", "mess", "--value", f"--property={name}")


def becomes(name: str, start: str, within: float = 40) -> str:
    """The property, as soon as it begins so, or as it is after so many seconds."""
    deadline = time.monotonic() + within
    while not (value := shown(name)).startswith(start) and time.monotonic() < deadline:
        time.sleep(0.5)
    return value


@pytest.fixture(scope="module")
def systemd(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A machine with MESS installed as the unit's comment says, and a MongoDB."""
    folder = tmp_path_factory.mktemp("systemd")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (folder / "Dockerfile").write_text(DOCKERFILE.format(image=image, mongo=MONGO))
    (folder / "config.yml").write_text(CONFIG)
    (folder / "mess.service").write_text((ROOT / "deploy/mess.service").read_text())
    docker("build", "--network", "host", "--tag", NAME, str(folder), timeout=1200)
    docker("network", "create", NAME)
    try:
        run = ("run", "--detach", "--network", NAME, "--name")
        docker(*run, MONGO, "mongo:8", "mongod", "--replSet=rs0", "--bind_ip_all")
        docker(*run, NAME, "--cgroupns=private", "--tmpfs=/run", "--env=container=docker", *FEW, NAME)
        initiate = f'rs.initiate({{_id: "rs0", members: [{{_id: 0, host: "{MONGO}:27017"}}]}})'
        deadline = time.monotonic() + 60
        while docker("exec", MONGO, "mongosh", "--quiet", "--eval", initiate, check=False).returncode != 0:
            assert time.monotonic() < deadline
            time.sleep(1)
        while systemctl("is-system-running", check=False) not in {"running", "degraded"}:
            assert time.monotonic() < deadline, docker("logs", NAME).stdout
            time.sleep(0.5)
        yield
    finally:
        docker("rm", "--force", "--volumes", NAME, MONGO, check=False)
        docker("network", "rm", NAME, check=False)


@pytest.mark.usefixtures("systemd")
def test_the_unit_starts_reloads_and_stops() -> None:
    """With all its restrictions: started when ready, with secrets from credentials and its state on disk."""
    systemctl("start", "mess")
    assert shown("ActiveState") == "active"
    assert shown("StatusText") == "ready"
    process = shown("MainPID")
    docker("exec", NAME, "sed", "-i", "s/pipeline: .*/pipeline: [{name: log, config: {max_bytes: 4KiB}}]/", CONFIG_FILE)
    systemctl("reload", "mess")
    deadline = time.monotonic() + 20
    while "config reloaded" not in journal():
        assert time.monotonic() < deadline, journal()
        time.sleep(0.5)
    assert (shown("ActiveState"), shown("MainPID")) == ("active", process)
    assert "mess.sqlite" in docker("exec", NAME, "ls", "/var/lib/private/mess").stdout
    systemctl("stop", "mess")
    assert (shown("ActiveState"), shown("Result"), shown("ExecMainStatus")) == ("inactive", "success", "0")


@pytest.mark.usefixtures("systemd")
def test_a_relay_that_hangs_is_restarted() -> None:
    """By the watchdog, once it has given no sign of life for that long."""
    drop_in = "/run/systemd/system/mess.service.d"
    docker("exec", NAME, "mkdir", "-p", drop_in)
    docker("exec", NAME, "sh", "-c", f"printf '[Service]\\nWatchdogSec=4\\nRestartSec=1\\n' >{drop_in}/short.conf")
    systemctl("daemon-reload")
    systemctl("start", "mess")
    systemctl("kill", "--signal=STOP", "mess")
    assert becomes("NRestarts", "1") == "1"
    assert becomes("ActiveState", "active") == "active"
    systemctl("stop", "mess")


@pytest.mark.usefixtures("systemd")
def test_the_unit_waits_for_mongodb_and_says_so() -> None:
    """It is not given up while MongoDB is away, and is started as soon as MongoDB answers."""
    docker("pause", MONGO)
    try:
        systemctl("start", "--no-block", "mess")
        reason = "not ready: cannot reach MongoDB"
        assert becomes("StatusText", reason).startswith(reason)
        assert shown("ActiveState") == "activating"
    finally:
        docker("unpause", MONGO)
    assert becomes("ActiveState", "active") == "active"
    systemctl("stop", "mess")


@pytest.mark.usefixtures("systemd")
def test_a_mistake_in_the_config_is_not_retried() -> None:
    """The unit fails, and its log names the mistake."""
    docker("exec", NAME, "sh", "-c", f"echo 'pipelin: []' >>{CONFIG_FILE}")
    assert docker("exec", NAME, "systemctl", "start", "mess", check=False).returncode != 0
    time.sleep(3)
    assert (shown("ActiveState"), shown("ExecMainStatus")) == ("failed", "2")
    assert "pipelin:" in journal()
