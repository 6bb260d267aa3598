"""docker-compose.yml and what it mounts. None of this needs Docker; `make test-docker` runs it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

ROOT = Path(__file__).parents[2]


def text(path: str) -> str:
    return (ROOT / path).read_text()


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load(text("docker-compose.yml"))["services"]
    return services


def test_compose_runs_a_replica_set_that_survives(services: dict[str, Any]) -> None:
    """MongoDB initiates itself under the name by which the relay reaches it, and keeps its data."""
    mongo = services["mongo"]
    assert mongo["image"].startswith("${MONGO_IMAGE:-mongo:8")
    assert "rs0" in mongo["command"]
    check = mongo["healthcheck"]["test"][-1]
    assert "rs.initiate" in check
    assert 'host: "mongo:27017"' in check
    assert "mongo:/data/db" in mongo["volumes"]
    assert "ports" not in mongo  # it has no password


def test_compose_runs_the_relay_with_little_rights(services: dict[str, Any]) -> None:
    """Read-only, no capabilities, the config mounted, its port on loopback only, and time to stop in order."""
    mess = services["mess"]
    assert mess["build"]["context"] == "."
    assert mess["build"]["args"]["PYTHON_IMAGE"].startswith("${PYTHON_IMAGE:-python:3.13-slim")
    assert mess["depends_on"] == {"mongo": {"condition": "service_healthy"}}
    assert mess["environment"]["MONGODB_URL"] == "mongodb://mongo:27017/?replicaSet=rs0"
    assert mess["ports"] == ["127.0.0.1:3000:3000"]
    assert "./config:/app/config:ro" in mess["volumes"]
    assert mess["extra_hosts"] == ["host.docker.internal:host-gateway"]  # Docker Desktop has the name, Linux does not
    assert mess["read_only"] is True
    assert mess["tmpfs"] == ["/tmp"]
    assert mess["cap_drop"] == ["ALL"]
    assert mess["security_opt"] == ["no-new-privileges:true"]
    assert mess["stop_grace_period"] == "15s"
    assert mess["restart"] == "unless-stopped"


def test_compose_hands_on_known_variables_only(services: dict[str, Any]) -> None:
    """Whatever Compose passes to the relay is in `.env.example`."""
    named = re.findall(r"^#?([A-Z_]+)=", text(".env.example"), re.MULTILINE)
    assert set(services["mess"]["environment"]) <= set(named)


@pytest.mark.parametrize(
    ("profile", "variable"),
    [
        ("kafka", "KAFKA_URL"),
        ("rabbitmq", "RABBITMQ_URL"),
        ("nats", "NATS_URL"),
        ("mqtt", "MQTT_URL"),
        ("redis", "REDIS_URL"),
    ],
)
def test_compose_has_a_broker_for_each_profile(services: dict[str, Any], profile: str, variable: str) -> None:
    """Its example config reaches it without any setting, nobody else does, and MESS alone starts without it."""
    broker = services[profile]
    assert broker["profiles"] == ([profile, "kafka-workers"] if profile == "kafka" else [profile])
    assert "ports" not in broker  # it has no password
    default = re.fullmatch(rf"\$\{{{variable}:-(.*)\}}", services["mess"]["environment"][variable])
    assert default
    assert urlsplit(default[1]).hostname == profile
    assert f"${{{variable}:-" in text(f"config/examples/{profile}.yml")


def test_compose_adds_a_standby(services: dict[str, Any]) -> None:
    """With the relay's rights, config and state, and a port of its own."""
    mess, standby = services["mess"], services["mess-standby"]
    assert standby["profiles"] == ["standby"]
    own = ("profiles", "ports", "volumes")
    assert {key: value for key, value in standby.items() if key not in own} == {
        key: value for key, value in mess.items() if key not in own
    }
    assert standby["ports"] == ["127.0.0.1:3002:3000"]
    assert {"./config:/app/config:ro", "data:/app/data"} <= set(standby["volumes"])
    assert "plugins:/app/plugins" not in standby["volumes"]


def test_compose_runs_workers_behind_kafka(services: dict[str, Any]) -> None:
    """Three with the relay's rights, which read the topic that the capturing relay's example writes."""
    mess, worker = services["mess"], services["worker"]
    assert worker["profiles"] == ["kafka-workers"]
    assert worker["deploy"] == {"replicas": 3}
    assert worker["ports"] == []  # all in one network: they cannot share a port of the host
    rights = ("read_only", "tmpfs", "cap_drop", "security_opt", "extra_hosts", "stop_grace_period", "restart")
    assert {key: worker[key] for key in rights} == {key: mess[key] for key in rights}
    file = worker["environment"]["MESS_CONFIG"]  # so that commands inside the container mean it, too
    assert worker["environment"] == {**mess["environment"], "MESS_CONFIG": file}
    assert worker["command"] == mess["command"]
    workers, capture = (yaml.safe_load(text(name)) for name in (file, "config/examples/kafka-capture.yml"))
    (step,) = capture["pipeline"]
    source = workers["source"]["kafka"]
    assert (source["url"], source["topics"]) == (step["config"]["url"], [step["config"]["target"]])
    assert step["config"]["format"] == "bson"
    assert capture["name"] != workers["name"]
    assert int(services["kafka"]["environment"]["KAFKA_NUM_PARTITIONS"]) >= worker["deploy"]["replicas"]


def test_compose_monitors_the_relay(services: dict[str, Any]) -> None:
    """Prometheus scrapes MESS's port, and Grafana finds Prometheus and the dashboard where they are mounted."""
    prometheus, grafana = services["prometheus"], services["grafana"]
    assert prometheus["profiles"] == grafana["profiles"] == ["monitoring"]
    assert all(port.startswith("127.0.0.1:") for port in prometheus["ports"] + grafana["ports"])
    assert "./deploy/prometheus:/etc/prometheus:ro" in prometheus["volumes"]
    (job,) = yaml.safe_load(text("deploy/prometheus/prometheus.yml"))["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["mess:3000"]}]
    (others,) = job["dns_sd_configs"]
    assert others.items() >= {"type": "A", "port": 3000}.items()
    assert set(others["names"]) <= services.keys()
    assert "./deploy/grafana:/etc/mess:ro" in grafana["volumes"]
    assert grafana["environment"]["GF_PATHS_PROVISIONING"] == "/etc/mess/provisioning"
    (source,) = yaml.safe_load(text("deploy/grafana/provisioning/datasources/prometheus.yml"))["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load(text("deploy/grafana/provisioning/dashboards/mess.yml"))["providers"]
    assert provider["options"]["path"] == "/etc/mess"


def test_compose_accepts_its_profiles() -> None:
    """Docker's own reading of the file, with all of them."""
    for program in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(program[0]) and subprocess.run([*program, "version"], capture_output=True).returncode == 0:
            break
    else:
        pytest.skip("Compose is not installed")
    profiles = ["kafka", "rabbitmq", "nats", "mqtt", "redis", "monitoring", "standby", "kafka-workers"]
    options = [option for profile in profiles for option in ("--profile", profile)]
    done = subprocess.run([*program, *options, "config", "--quiet"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
