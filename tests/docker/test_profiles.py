"""The Compose file's profiles on a real engine, as docs/deployment.md starts them."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from mess.demo.ports import free_port
from tests.docker.compose import Project, docker

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(image: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Project]:
    """The Compose file with one profile, not yet up. Without the images of the services that a test names, it is
    skipped."""
    profile, *services = request.param
    found = Project(ROOT / "docker-compose.yml", image, tmp_path, profile=profile)
    for service in services:
        name = found.services[service]["image"]
        known = docker("image", "inspect", name, check=False).returncode == 0
        if not known and docker("pull", "--quiet", name, check=False, timeout=600).returncode != 0:
            pytest.skip(f"{name} cannot be pulled")
    try:
        yield found
    finally:
        found.down()


@pytest.mark.parametrize(
    "project",
    [(name, name) for name in ("kafka", "rabbitmq", "nats", "mqtt", "redis")],
    indirect=True,
    ids=lambda found: found[0],
)
def test_a_broker_confirms_what_its_example_publishes(project: Project, request: pytest.FixtureRequest) -> None:
    """`MESS_CONFIG=config/examples/….yml docker compose --profile … up`, and no other setting."""
    profile = request.node.callspec.params["project"][0]
    project.settings["environment"]["MESS_CONFIG"] = f"config/examples/{profile}.yml"
    project.up()
    project.insert(1, "shop")
    assert project.finished(1), project.log()


@pytest.mark.parametrize("project", [("kafka-workers", "kafka")], indirect=True, ids=["kafka-workers"])
def test_workers_deliver_what_the_capturing_relay_publishes(project: Project) -> None:
    """`MESS_CONFIG=config/examples/kafka-capture.yml docker compose --profile kafka-workers up`: three workers, and
    each change comes to one of them."""
    project.settings["environment"]["MESS_CONFIG"] = "config/examples/kafka-capture.yml"
    project.up()
    assert len(project.compose("ps", "-q", "worker").split()) == 3
    for number in range(1, 4):
        project.insert(number, "shop")
    for number in range(1, 4):
        assert project.delivered(number, within=90, service="worker"), project.compose("logs", "worker")


@pytest.mark.parametrize("project", [("standby",)], indirect=True, ids=["standby"])
def test_a_standby_takes_over(project: Project) -> None:
    """`docker compose --profile standby up`, with `ha` in the config; then the active process is stopped."""
    file = project.config / "config.yml"
    file.write_text(file.read_text() + "ha: {lease: 5s}\n")
    project.services["mess-standby"]["ports"] = []
    project.up("mess")
    project.compose("up", "--detach", "mess-standby")
    project.insert(1)
    assert project.delivered(1)
    project.compose("stop", "mess")
    project.insert(2)
    assert project.delivered(2, service="mess-standby"), project.compose("logs", "mess-standby")


@pytest.mark.parametrize("project", [("monitoring", "prometheus")], indirect=True, ids=["prometheus"])
def test_prometheus_scrapes_the_relay(project: Project) -> None:
    """The stream's state can be queried."""
    prometheus, port = project.services["prometheus"], free_port()
    prometheus["ports"] = [f"127.0.0.1:{port}:9090"]
    prometheus["volumes"] = [f"{ROOT / 'deploy/prometheus'}:/etc/prometheus:ro"]
    project.up("mess", "prometheus")
    deadline = time.monotonic() + 60
    values: list[str] = []
    while not values and time.monotonic() < deadline:
        time.sleep(1)
        try:
            url = f"http://127.0.0.1:{port}/api/v1/query?query=mess_stream_connected"
            with urllib.request.urlopen(url, timeout=5) as answer:
                values = [each["value"][1] for each in json.load(answer)["data"]["result"]]
        except OSError:
            continue
    assert values == ["1"]
