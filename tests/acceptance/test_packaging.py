"""The container and its settings. None of this needs Docker; `make test-docker` runs them."""

from __future__ import annotations

import http.server
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENTRYPOINT = ROOT / "docker/entrypoint.sh"
VARIABLE = re.compile(r"\b(MESS_[A-Z_]+|MONGODB_URL|PORT|PRELOAD_SCRIPT)\b")
NOT_THE_USERS = {"MESS_PLUGINS_DIR", "MESS_CONSTRAINTS"}  # paths in the image, that only these tests change


def text(path: str) -> str:
    return (ROOT / path).read_text()


# The environment's variables


def named_in_example() -> set[str]:
    return set(re.findall(r"^#?([A-Z_]+)=", text(".env.example"), re.MULTILINE))


def used_by_configs() -> set[str]:
    uncommented = "\n".join(
        re.sub(r"(^|\s)(#|//).*", "", line)
        for path in sorted((ROOT / "config").rglob("*"))
        if path.suffix in {".yml", ".yaml", ".json", ".js"} and not path.name.endswith(".schema.json")
        for line in path.read_text().splitlines()
    )
    return set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", uncommented))


def used_by_code() -> set[str]:
    sources = [path.read_text() for path in (ROOT / "mess").rglob("*.py")] + [ENTRYPOINT.read_text()]
    return {name for source in sources for name in VARIABLE.findall(source)} - NOT_THE_USERS


def test_env_example_names_every_variable_and_no_other() -> None:
    """A user finds every variable that the code, the container or a shipped config reads, and no idle one."""
    assert named_in_example() == used_by_code() | used_by_configs()


def test_container_docs_name_the_containers_variables() -> None:
    """The page on the container leaves none out."""
    assert set(VARIABLE.findall(text("docs/docker.md"))) >= used_by_code()


# The image


def test_image_runs_as_a_user_and_is_watched() -> None:
    """The final stage: a fixed user id, a health check, no signal lost to a shell."""
    final = text("Dockerfile").rsplit("\nFROM ", 1)[1]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*\\\n +CMD \[", final, re.MULTILINE)
    assert re.search(r"^ENTRYPOINT \[", final, re.MULTILINE)
    assert 'CMD ["run"]' in final
    assert "EXPOSE 3000" in final
    assert "MESS_ADMIN_HOST=0.0.0.0" in final


def test_image_names_its_origin_and_suits_every_architecture() -> None:
    """Labels for version, revision, source and licence; nothing in it is for one architecture."""
    dockerfile = text("Dockerfile")
    labels = set(re.findall(r"org\.opencontainers\.image\.([a-z]+)=", dockerfile))
    assert labels == {"title", "description", "licenses", "source", "version", "revision"}
    assert not re.search(r"amd64|arm64|x86|aarch64", dockerfile)


def test_image_is_built_from_what_the_context_holds() -> None:
    """Every path that is copied exists, and `.dockerignore` lets it through."""
    let_through = {line[1:] for line in text(".dockerignore").splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", text("Dockerfile"), re.MULTILINE)
    paths = [path for line in copied for path in line.split()]
    assert paths
    for path in paths:
        assert (ROOT / path).exists()
        assert path.split("/")[0] in let_through


# The container's entry point


class Container:
    """The entry point with its neighbours in the image: `python`; `mess` and `pip` only tell how they were called."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.log = home / "log"
        (home / "bin").mkdir()
        self.program("mess", f'echo "mess $$ $*" >>{self.log}')
        self.plugins = home / "plugins"
        self.program("python", f'[ "$1" != -V ] || exec echo Python 3.13.0\nexec {sys.executable} "$@"')
        self.pip()
        (home / "constraints.txt").write_text("pymongo==4.13\n")

    def program(self, name: str, script: str) -> None:
        path = self.home / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def pip(self, status: int = 0, says: str = "") -> None:
        (self.home / "says").write_text(says)
        self.program("pip", f'echo "pip $*" >>{self.log}\ncat {self.home / "says"} >&2\nexit {status}')

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        env = {
            "PATH": f"{self.home / 'bin'}:/usr/bin:/bin",
            "MESS_PLUGINS_DIR": str(self.plugins),
            "MESS_CONSTRAINTS": str(self.home / "constraints.txt"),
        }
        return subprocess.Popen(
            [ENTRYPOINT, *arguments], env=env | environment, stderr=subprocess.PIPE, text=True, cwd=self.home
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, str, list[str]]:
        """Exit status, standard error, and the calls made."""
        self.log.write_text("")
        process = self.start(*arguments, **environment)
        _, error = process.communicate(timeout=30)
        calls = [line.replace(str(process.pid), "PID") for line in self.log.read_text().splitlines()]
        return process.returncode, error, calls


@pytest.fixture
def container(tmp_path: Path) -> Container:
    return Container(tmp_path)


def test_entrypoint_becomes_mess(container: Container) -> None:
    """The same process goes on as mess, with the arguments as they are, so that signals reach it."""
    assert container.run("run", "--log-level", "debug") == (0, "", ["mess PID run --log-level debug"])


def test_entrypoint_runs_the_preload_script_first(container: Container) -> None:
    """Any shell command will do; then mess starts."""
    script = f"for i in 1 2; do echo $i; done >>{container.log} && echo done >>{container.log}"
    assert container.run("run", PRELOAD_SCRIPT=script) == (0, "", ["1", "2", "done", "mess PID run"])


def test_entrypoint_stops_where_the_preload_script_fails(container: Container) -> None:
    """A relay whose preparation failed does not start, and the status is told."""
    assert container.run("run", PRELOAD_SCRIPT="exit 3") == (1, "PRELOAD_SCRIPT failed with status 3\n", [])


def test_entrypoint_can_be_stopped_while_it_prepares(container: Container) -> None:
    """SIGTERM does not wait for a long preparation to end."""
    started = container.home / "started"
    process = container.start("run", PRELOAD_SCRIPT=f"touch {started}; exec sleep 60")
    try:
        deadline = time.monotonic() + 10
        while not started.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
        assert process.returncode == 143
    finally:
        process.kill()
        process.wait()


def test_entrypoint_can_be_stopped_while_it_installs(container: Container) -> None:
    """SIGTERM ends pip, too."""
    started = container.home / "started"
    container.program("pip", f"echo $$ >{started}.new; mv {started}.new {started}; exec sleep 60")
    process = container.start("run", MESS_PLUGINS="motor")
    try:
        deadline = time.monotonic() + 10
        while not started.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=10)
        assert process.returncode == 143
        with pytest.raises(ProcessLookupError):
            os.kill(int(started.read_text()), 0)
    finally:
        process.kill()
        process.wait()


def test_entrypoint_installs_plugins_once(container: Container) -> None:
    """Again only when the list, or what MESS is built with, has changed."""
    status, _, calls = container.run("run", MESS_PLUGINS="motor my-plugins[fast]==1.*")
    assert status == 0
    assert len(calls) == 2
    assert calls[0].startswith("pip install ")
    assert calls[0].endswith("motor my-plugins[fast]==1.*")
    assert f"--constraint {container.home / 'constraints.txt'}" in calls[0]

    assert container.run("run", MESS_PLUGINS="motor my-plugins[fast]==1.*")[2] == ["mess PID run"]
    assert len(container.run("run", MESS_PLUGINS="motor")[2]) == 2
    (container.home / "constraints.txt").write_text("pymongo==4.14\n")
    assert len(container.run("run", MESS_PLUGINS="motor")[2]) == 2


def test_entrypoint_does_not_start_without_its_plugins(container: Container) -> None:
    """What was installed before stays, so that going back to the old list needs no network."""
    container.run("run", MESS_PLUGINS="motor")
    container.pip(status=1)
    status, error, calls = container.run("run", MESS_PLUGINS="no-such-package")
    assert status == 1
    assert "MESS_PLUGINS could not be installed: no-such-package" in error
    assert len(calls) == 1
    assert container.run("run", MESS_PLUGINS="motor")[2] == ["mess PID run"]


def test_entrypoint_shows_and_stores_no_credentials(container: Container) -> None:
    """Tokens in the urls of package indexes are neither in the log, pip's own words included, nor in the volume."""
    index = "https://bot:hunter2secret@pypi.example/t0ken-of-many-letters/simple?key=quer7secret"
    plugins = f"--index-url {index} my-plugins git+https://gittoken@git.example/shop.git@v1"
    extra = "https://bot:p%40ss-w0rd@other.example/simple"
    words = "\n".join(
        [
            f"ERROR: no matching distribution at {index} for my-plugins",
            "WARNING: retrying: /t0ken-of-many-letters/simple/my-plugins/ as bot with hunter2secret",
            f"Looking in indexes: {extra}, also with p@ss-w0rd",
        ]
    )
    for status in (1, 0):
        container.pip(status=status, says=words)
        code, error, calls = container.run("run", MESS_PLUGINS=plugins, PIP_EXTRA_INDEX_URL=extra)
        assert code == status
        assert calls[0].endswith(plugins), "pip is not given what the user wrote"
        assert "my-plugins" in error
        assert "pypi.example" in error
        stored = "".join(path.read_text() for path in container.plugins.rglob("*") if path.is_file())
        for secret in ("hunter2", "t0ken", "quer7", "gittoken", "p%40ss", "p@ss", "w0rd"):
            assert secret not in error
            assert secret not in stored


# The container's health check


@pytest.fixture
def answering() -> Iterator[http.server.HTTPServer]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(self.server.status if self.path == "/healthz" else 404)  # type: ignore[attr-defined]
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def healthy(port: int) -> bool:
    check = [sys.executable, ROOT / "docker/healthcheck.py"]
    return subprocess.run(check, env={"PORT": str(port)}, capture_output=True, timeout=10).returncode == 0


def test_health_check_asks_the_relay(answering: http.server.HTTPServer) -> None:
    """Healthy while `/healthz` answers 200, unhealthy when it says otherwise or nobody is there."""
    answering.status = 200  # type: ignore[attr-defined]
    assert healthy(answering.server_port)
    answering.status = 503  # type: ignore[attr-defined]
    assert not healthy(answering.server_port)
    assert not healthy(1)
