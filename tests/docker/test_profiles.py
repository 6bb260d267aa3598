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
