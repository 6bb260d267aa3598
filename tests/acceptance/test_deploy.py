"""The deployment examples, and the files that the guides tell a reader to save."""

from __future__ import annotations

import configparser
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.acceptance.commands import command, environment

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def manifests() -> dict[str, dict[str, Any]]:
    documents = yaml.safe_load_all((ROOT / "deploy/kubernetes.yml").read_text())
    return {document["kind"]: document for document in documents}


@pytest.fixture(scope="module")
def pod(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    spec: dict[str, Any] = manifests["Deployment"]["spec"]["template"]["spec"]
    return spec


def validate(config: Path) -> subprocess.CompletedProcess[str]:
    arguments = command("validate", "--config", config)
    return subprocess.run(
        arguments, cwd=config.parent, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )


def test_kubernetes_never_runs_two_relays_of_one_name(manifests: dict[str, dict[str, Any]]) -> None:
    """The old one ends, with time to finish what is in flight, before the new one starts."""
    spec = manifests["Deployment"]["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}
    assert spec["template"]["spec"]["terminationGracePeriodSeconds"] >= 15
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()
    assert manifests["Service"]["spec"]["selector"] == spec["selector"]["matchLabels"]


def test_kubernetes_restarts_only_what_a_restart_can_fix(pod: dict[str, Any]) -> None:
    """Liveness asks for the process alone; readiness for streams and state, without the sinks."""
    (container,) = pod["containers"]
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "admin"}
    assert container["startupProbe"]["httpGet"] == {"path": "/healthz", "port": "admin"}
    assert container["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "admin"}
    assert container["ports"] == [{"name": "admin", "containerPort": 3000}]


def test_kubernetes_gives_no_rights(pod: dict[str, Any]) -> None:
    """The image's own user, nothing to write to but /tmp, no capabilities, no token, bounded memory."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    user = re.search(r"^USER (\d+):(\d+)$", dockerfile, re.MULTILINE)
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
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert mounts.keys() == {"/app/config", "/run/secrets/mess", "/tmp"}
    assert {mount["name"] for mount in mounts.values()} == {volume["name"] for volume in pod["volumes"]}


def test_kubernetes_config_is_valid_and_reads_its_secrets_from_files(
    manifests: dict[str, dict[str, Any]], pod: dict[str, Any], tmp_path: Path
) -> None:
    """`mess validate` accepts it with the Secret mounted where the pod mounts it, and finds nothing to warn of."""
    text = manifests["ConfigMap"]["data"]["config.yml"]
    for name, value in manifests["Secret"]["stringData"].items():
        assert f"${{file:/run/secrets/mess/{name}}}" in text
        (tmp_path / name).write_text(value)
    assert "change-me" not in text
    config = tmp_path / "config.yml"
    config.write_text(text.replace("/run/secrets/mess", str(tmp_path)))
    done = validate(config)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stdout + done.stderr
    assert "change-me" not in done.stdout + done.stderr


def test_systemd_restarts_the_relay_but_not_for_a_mistake_in_its_config() -> None:
    """It runs without rights, gets time to stop, and its secrets are the credentials that the comment names."""
    text = (ROOT / "deploy/mess.service").read_text()
    unit = configparser.RawConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(text)
    service = unit["Service"]
    assert service["ExecStart"] == "/opt/mess/bin/mess run --config /etc/mess/config.yml"
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == "2"
    assert int(service["TimeoutStopSec"]) >= 15
    assert service["DynamicUser"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert "/run/credentials/mess.service/mongodb-url" in text
    assert "LoadCredential=mongodb-url:" in text


@pytest.mark.parametrize("guide", ["README.md", "docs/getting-started.md"])
def test_guides_never_tell_to_overwrite_a_file_of_the_repository(guide: str) -> None:
    """What a reader saves is a file of their own: config/config.yml is what the Compose file runs with."""
    saved = re.findall(r"[Ss]ave (?:it|this) as `([^`]+)`", (ROOT / guide).read_text())
    assert saved
    assert [path for path in saved if (ROOT / path).exists()] == []


@pytest.mark.parametrize("guide", ["README.md", "docs/getting-started.md"])
def test_the_first_config_of_a_guide_is_valid(guide: str, tmp_path: Path) -> None:
    """It can be saved as the guide says, and `mess validate` accepts it without a warning."""
    text = (ROOT / guide).read_text()
    block = re.search(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    name = re.search(r"[Ss]ave (?:it|this) as `([^`]+\.yml)`", text)
    assert block
    assert name
    config = tmp_path / name[1]
    config.write_text(block[1])
    done = validate(config)
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stdout + done.stderr


@pytest.mark.parametrize("guide", ["README.md", "docs/getting-started.md", "docs/docker.md"])
def test_commands_of_the_guides_exist(guide: str) -> None:
    """Each `mess …` line has a command and options that `mess` knows."""
    lines = re.findall(r"^    (?:docker .* )?mess ([a-z-]+(?: .*)?)$", (ROOT / guide).read_text(), re.MULTILINE)
    helps: dict[str, str] = {}
    for line in lines:
        words = line.split("#")[0].split()
        name = " ".join(word for word in words[:2] if re.fullmatch(r"[a-z-]+", word) and not word.startswith("-"))
        if name not in helps:
            done = subprocess.run(
                command(*name.split(), "--help"), env=environment(), capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, line
            helps[name] = done.stdout
        for option in re.findall(r"--[a-z-]+", line.split("#")[0]):
            assert option in helps[name], line
    assert lines or guide == "README.md"
