"""deploy/mess.service, judged by systemd itself. `make test-docker` starts it."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mess.config.model import Config

UNIT = Path(__file__).parents[2] / "deploy/mess.service"
EXPOSURE = 2.0
"""What `systemd-analyze security` may find at most, of 10."""

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def service() -> configparser.SectionProxy:
    unit = configparser.RawConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(UNIT.read_text())
    return unit["Service"]


def test_it_restarts_the_relay_but_not_for_a_mistake_in_its_config(service: configparser.SectionProxy) -> None:
    """It gets time to stop, and the secrets are the credentials that the comment names."""
    assert service["ExecStart"] == "/opt/mess/bin/mess run --config /etc/mess/config.yml"
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == "2"
    assert int(service["TimeoutStopSec"]) >= 2 * Config.model_fields["shutdown_grace"].default
    assert "/run/credentials/mess.service/mongodb-url" in UNIT.read_text()
    assert re.search(r"^LoadCredential=mongodb-url:", UNIT.read_text(), re.MULTILINE)


def test_it_is_started_when_the_relay_is_ready(service: configparser.SectionProxy) -> None:
    """However long MongoDB is away, and a relay that hangs is ended."""
    assert service["Type"] == "notify"
    assert service["TimeoutStartSec"] == "infinity"
    assert int(service["WatchdogSec"]) >= 10
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"


@needs_systemd
def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    """Every option is one that it knows; without the program, that is all it could complain of."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/mess/bin/mess", "/bin/true"))
    done = analyze("verify", "--man=no", unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@needs_systemd
def test_it_gives_no_rights() -> None:
    """A low exposure; `systemd-analyze security --offline=true` lists what is left."""
    done = analyze("security", "--offline=true", "--no-pager", UNIT)
    found = re.search(r"exposure level for \S+: (\d+\.\d+)", done.stdout)
    assert found, done.stderr
    assert float(found[1]) <= EXPOSURE
