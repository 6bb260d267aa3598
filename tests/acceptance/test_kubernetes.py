"""deploy/kubernetes: what a cluster would be given, and that its objects fit each other, the image and MESS."""

from __future__ import annotations

import base64
import copy
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from mess.config.model import Config
from tests.acceptance.commands import command, environment

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/kubernetes"
KINDS = {"ConfigMap", "Secret", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service"}
LABEL = "app.kubernetes.io/name"

Objects = dict[str, dict[str, Any]]


def written() -> Objects:
    """The base as it is written, without kustomize: resources as they are, and what its generators make."""
    kustomization = yaml.safe_load((FOLDER / "base/kustomization.yml").read_text())
    found = [yaml.safe_load((FOLDER / "base" / name).read_text()) for name in kustomization["resources"]]
    objects = {each["kind"]: each for each in found}
    (config,), (secret,) = kustomization["configMapGenerator"], kustomization["secretGenerator"]
    texts = {name: (FOLDER / "base" / name).read_text() for name in config["files"]}
    objects["ConfigMap"] = {"metadata": {"name": config["name"]}, "data": texts}
    values = {name: base64.b64encode(value.encode()).decode() for name, value in map(split, secret["literals"])}
    objects["Secret"] = {"metadata": {"name": secret["name"]}, "data": values}
    (labels,) = kustomization["labels"]
    assert labels["includeSelectors"]
    deployment = objects["Deployment"]["spec"]
    deployment["selector"] = {"matchLabels": labels["pairs"]}
    deployment["template"]["metadata"]["labels"] = labels["pairs"]
    objects["Service"]["spec"]["selector"] = labels["pairs"]
    for document in found:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    return objects


def split(literal: str) -> tuple[str, str]:
    name, _, value = literal.partition("=")
    return name, value


def rendered(name: str) -> Objects:
    """What kustomize makes of a folder."""
    program = ["kustomize", "build"] if shutil.which("kustomize") else ["kubectl", "kustomize"]
    if shutil.which(program[0]) is None:
        pytest.skip("neither kustomize nor kubectl is installed")
    done = subprocess.run([*program, FOLDER / name], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    documents = list(yaml.safe_load_all(done.stdout))
    for document in documents:
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)
    return {document["kind"]: document for document in documents}


@pytest.fixture(scope="module", params=["as written", "base", "example", "workers"])
def objects(request: pytest.FixtureRequest) -> Objects:
    found = written() if request.param == "as written" else rendered(request.param)
    assert found.keys() == KINDS
    return found


@pytest.fixture(scope="module")
def name(objects: Objects) -> str:
    """What all objects are called, and their pods' label."""
    (name,) = {each["metadata"]["name"] for each in objects.values()}
    return str(name)


@pytest.fixture(scope="module")
def pod(objects: Objects) -> dict[str, Any]:
    spec: dict[str, Any] = objects["Deployment"]["spec"]["template"]["spec"]
    return spec


def settings(objects: Objects) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(objects["ConfigMap"]["data"]["config.yml"])
    return found


def test_a_rollout_and_a_drained_node_leave_a_process_that_can_deliver(objects: Objects, pod: dict[str, Any]) -> None:
    """A standby or another worker is ready before a pod ends, and each pod has time to finish what is in flight."""
    spec, config = objects["Deployment"]["spec"], settings(objects)
    assert spec["replicas"] >= 2
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert "ha" in config or "kafka" in config["source"]
    budget = objects["PodDisruptionBudget"]["spec"]
    assert (budget.get("minAvailable"), budget.get("maxUnavailable")) == ((1, None) if "ha" in config else (None, 1))
    assert budget["unhealthyPodEvictionPolicy"] == "AlwaysAllow", "an outage of MongoDB must not block a drain"
    grace = Config.model_fields["shutdown_grace"].default
    assert pod["terminationGracePeriodSeconds"] >= 2 * grace


def test_pods_prefer_different_nodes_and_zones(pod: dict[str, Any], name: str) -> None:
    """And run on one, where there is only one."""
    spread = {each.pop("topologyKey"): each for each in copy.deepcopy(pod["topologySpreadConstraints"])}
    same = {"maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {"matchLabels": {LABEL: name}}}
    assert spread == {"kubernetes.io/hostname": same, "topology.kubernetes.io/zone": same}


def test_the_capturing_relay_writes_what_the_workers_read() -> None:
    """The example publishes to the topic that the workers' example reads, in a form that keeps all types."""
    (step,) = settings(rendered("example"))["pipeline"]
    source = settings(rendered("workers"))["source"]["kafka"]
    assert (step["config"]["url"], step["config"]["format"]) == (source["url"], "bson")
    assert [step["config"]["target"]] == source["topics"]


def test_a_changed_config_is_reloaded(objects: Objects, pod: dict[str, Any], name: str) -> None:
    """By the relay itself, from the same ConfigMap and Secret: a new name would replace the pod."""
    (container,) = pod["containers"]
    assert container["args"] == ["run", "--watch"]
    done = subprocess.run(command("run", "--help"), env=environment(), capture_output=True, text=True, check=True)
    assert "--watch" in done.stdout
    assert objects["ConfigMap"]["metadata"]["name"] == objects["Secret"]["metadata"]["name"] == name


def test_restarts_only_what_a_restart_can_fix(pod: dict[str, Any]) -> None:
    """Liveness asks for the process alone; readiness for streams and state, without the sinks."""
    (container,) = pod["containers"]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "admin"}
    assert container["startupProbe"]["httpGet"] == {"path": "/healthz", "port": "admin"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "admin"}


def test_ports_and_labels_fit(objects: Objects, pod: dict[str, Any], name: str) -> None:
    """Service, NetworkPolicy and PodDisruptionBudget select the relay's pods, and the ports are the image's."""
    (container,) = pod["containers"]
    exposed = re.search(r"^EXPOSE (\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert exposed
    assert container["ports"] == [{"name": "admin", "containerPort": int(exposed[1])}]
    (port,) = objects["Service"]["spec"]["ports"]
    assert port == {"name": "admin", "port": int(exposed[1]), "targetPort": "admin"}
    template = objects["Deployment"]["spec"]["template"]["metadata"]
    assert template["annotations"]["prometheus.io/port"] == exposed[1]
    policy = objects["NetworkPolicy"]["spec"]
    assert [rule["ports"] for rule in policy["ingress"]] == [[{"protocol": "TCP", "port": "admin"}]]
    for selector in (
        objects["Deployment"]["spec"]["selector"]["matchLabels"],
        objects["Service"]["spec"]["selector"],
        objects["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        policy["podSelector"]["matchLabels"],
    ):
        assert selector == {LABEL: name}
        assert selector.items() <= template["labels"].items()


def test_gives_no_rights(pod: dict[str, Any]) -> None:
    """The image's own user, nothing to write to but /tmp, no capabilities, no token, bounded memory."""
    user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert user
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert (context["runAsUser"], context["runAsGroup"]) == (int(user[1]), int(user[2]))
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False
    assert "memory" in container["resources"]["limits"]


def test_what_is_mounted_exists(objects: Objects, pod: dict[str, Any]) -> None:
    """Volumes name the ConfigMap and the Secret; the config is where the image looks for it."""
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    (container,) = pod["containers"]
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert mounts.keys() == {"/app/config", "/run/secrets/mess", "/tmp"}
    assert volumes[mounts["/app/config"]]["configMap"]["name"] == objects["ConfigMap"]["metadata"]["name"]
    assert "config.yml" in objects["ConfigMap"]["data"]
    secret = volumes[mounts["/run/secrets/mess"]]["secret"]
    assert secret["secretName"] == objects["Secret"]["metadata"]["name"]
    assert "emptyDir" in volumes[mounts["/tmp"]]


def test_the_config_is_valid_and_reads_its_secrets_from_files(objects: Objects, tmp_path: Path) -> None:
    """`mess validate` accepts it with the Secret mounted where the pod mounts it, and finds nothing to warn of."""
    text = objects["ConfigMap"]["data"]["config.yml"]
    assert set(re.findall(r"\$\{file:/run/secrets/mess/([^}]+)\}", text)) == objects["Secret"]["data"].keys()
    for name, value in objects["Secret"]["data"].items():
        (tmp_path / name).write_bytes(base64.b64decode(value))
    assert "change-me" not in text
    config = tmp_path / "config.yml"
    config.write_text(text.replace("/run/secrets/mess", str(tmp_path)))
    done = subprocess.run(
        command("validate", "--config", config), env=environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stdout + done.stderr
    assert "change-me" not in done.stdout + done.stderr


def test_the_network_policy_lets_the_relay_reach_what_the_config_names(objects: Objects) -> None:
    """DNS, MongoDB, and the sinks of this config."""
    allowed = {port["port"] for rule in objects["NetworkPolicy"]["spec"]["egress"] for port in rule["ports"]}
    text = objects["ConfigMap"]["data"]["config.yml"]
    assert {53, 27017} <= allowed
    assert "https://" not in text or 443 in allowed
    assert {int(port) for port in re.findall(r"://[a-z.]+:(\d+)", text)} <= allowed
