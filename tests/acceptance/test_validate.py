"""`mess validate`: every step is built, nothing is connected to, and nothing beside the config stands in the way."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.commands import command, environment, write

SPY = """
import os, socket

def spied(name):
    original = getattr(socket.socket if name.startswith("connect") else socket, name)
    def call(*arguments, **options):
        with open(os.environ["SPY"], "a") as file:
            file.write(f"{name} {arguments[-1] if name.startswith('connect') else arguments}\\n")
        return original(*arguments, **options)
    return call

class Socket(socket.socket):
    connect = spied("connect")
    connect_ex = spied("connect_ex")

socket.socket = Socket
for name in ("getaddrinfo", "gethostbyname", "create_connection"):
    setattr(socket, name, spied(name))
"""
"""Put into a folder of PYTHONPATH as `sitecustomize`, it notes what Python's own sockets connect to and look up."""


@pytest.fixture
def listening() -> Iterator[list[socket.socket]]:
    """Sockets that accept connections and never answer, one for each service."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(10)]
    yield sockets
    for each in sockets:
        each.close()


def validate(config: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return finished("validate", config, **environ)


def finished(name: str, config: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(name, "--config", config),
        cwd=config.parent,
        env={**environment(), **environ},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def queue(url: str, **options: Any) -> dict[str, Any]:
    return {"name": "queue", "config": {"url": url, **options}}


def test_nothing_is_connected_to_and_no_name_is_looked_up(tmp_path: Path, listening: list[socket.socket]) -> None:
    """With every kind of sink, whether something listens there, or its name does not exist."""
    hosts = [f"127.0.0.1:{each.getsockname()[1]}" for each in listening]
    oauth2 = {"token_url": f"http://{hosts[6]}/", "client_id": "a", "client_secret": "b"}
    steps = [
        {"name": "http", "config": {"endpoint": f"http://{hosts[5]}/", "auth": {"oauth2": oauth2}}},
        *(
            queue(f"{scheme}://u:p@{host}")
            for scheme in ("amqp", "nats", "redis", "mqtt")
            for host in (hosts[0], "no.invalid")
        ),
        queue(f"kafka://u:p@{hosts[1]}"),
        queue("kafkas://u:p@no.invalid:9092"),
        queue(
            f"kafkas://{hosts[2]}",
            kafka={
                "config": {
                    "security.protocol": "SASL_SSL",
                    "sasl.mechanism": "OAUTHBEARER",
                    "sasl.oauthbearer.method": "oidc",
                    "sasl.oauthbearer.client.id": "a",
                    "sasl.oauthbearer.client.secret": "b",
                    "sasl.oauthbearer.token.endpoint.url": f"http://{hosts[7]}/",
                }
            },
        ),
    ]
    config = write(
        tmp_path,
        {
            "mongodb": {"url": "mongodb+srv://u:p@no-such-cluster.invalid/"},
            "state": {"url": f"mongodb://{hosts[4]}/"},
            "databases": {"shop": {}},
            "pipeline": steps,
        },
    )
    spy = tmp_path / "spy"
    spy.mkdir()
    (spy / "sitecustomize.py").write_text(SPY)
    began = time.monotonic()
    done = validate(config, PYTHONPATH=str(spy), SPY=str(tmp_path / "seen"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "valid:" in done.stdout
    assert time.monotonic() - began < 20
    assert not (tmp_path / "seen").exists(), (tmp_path / "seen").read_text()
    for each in listening:
        each.settimeout(0)
        with pytest.raises(BlockingIOError):
            each.accept()


@pytest.mark.parametrize("name", ["validate", "check", "run"])
def test_globs_that_ask_for_more_than_mongodb_takes_are_a_mistake_with_its_place(tmp_path: Path, name: str) -> None:
    globs = {f"*{number:0250}*": {"match": {"fullDocument.n": number}} for number in range(200)}
    url = "mongodb://127.0.0.1:1/"
    config = write(
        tmp_path, {"mongodb": {"url": url}, "databases": {"shop": {"collections": globs}}, "pipeline": ["log"]}
    )
    done = finished(name, config)
    said = done.stdout + done.stderr
    assert done.returncode == 2, said
    assert "databases.shop.collections: " in said
    assert "write fewer names and globs" in said
    assert "Traceback" not in said


def test_the_spy_sees_connections(tmp_path: Path, listening: list[socket.socket]) -> None:
    """Or the test above would prove nothing."""
    (tmp_path / "sitecustomize.py").write_text(SPY)
    port = listening[0].getsockname()[1]
    code = f"import urllib.request as u; u.urlopen('http://localhost:{port}', timeout=1)"
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "SPY": str(tmp_path / "seen"), "no_proxy": "*"}
    subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, timeout=30, check=False)
    assert {"getaddrinfo", "connect"} <= {line.split()[0] for line in (tmp_path / "seen").read_text().splitlines()}


def test_files_beside_the_config_do_not_take_the_place_of_what_mess_imports(tmp_path: Path) -> None:
    """Not even of those in the working directory, and with functions of the user's own beside them."""
    for name in ("redis", "pika", "nats", "paho", "confluent_kafka", "yaml", "aiohttp", "pymongo", "rich", "json5"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the wrong module')\n")
    (tmp_path / "my_plugins.py").write_text("def enrich(input, config, context): return input\n")
    brokers = ["redis://x", "amqp://x", "nats://x", "mqtt://x", "kafka://x:9092"]
    config = write(
        tmp_path,
        {
            "databases": {"shop": {}},
            "plugins": {"enrich": "my_plugins:enrich"},
            "pipeline": ["enrich", *map(queue, brokers)],
        },
    )
    done = validate(config)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "redis.py beside it has the same name as an installed package" in done.stdout


@pytest.mark.parametrize("command_", ["validate", "run", "check"])
def test_a_password_in_a_url_without_a_host_is_not_shown(tmp_path: Path, command_: str) -> None:
    config = write(
        tmp_path, {"mongodb": {"url": "mongodb://bob:hunter2"}, "databases": {"shop": {}}, "pipeline": ["log"]}
    )
    done = finished(command_, config)
    assert done.returncode == 2
    assert "mongodb.url: has no host" in done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_doubtful_security_is_said_by_validate_and_at_the_start(tmp_path: Path) -> None:
    step = {"name": "http", "config": {"endpoint": "http://x.invalid/", "headers": {"Authorization": "hunter2"}}}
    options = {"databases": {"shop": {}}, "pipeline": [step], "admin": {"port": 0}}
    config = write(tmp_path, {**options, "mongodb": {"url": "mongodb://127.0.0.1:9/?serverSelectionTimeoutMS=100"}})
    text = "credentials are sent over plain http"
    assert text in validate(config).stdout
    process = subprocess.Popen(
        command("run", "--config", config),
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    with process:
        seen = ""
        for line in process.stdout:
            seen += line
            if text in line:
                break
        process.kill()
    assert text in seen
    assert "hunter2" not in seen


def test_mistakes_in_an_expression_a_key_and_an_order_are_reported_at_their_place(tmp_path: Path) -> None:
    """All together, with the line of the option; a key is never shown, even if it is none."""
    config = tmp_path / "config.yml"
    key = "whsk_bm90IGEga2V5IGF0IGFsbA=="
    config.write_text(
        "databases: {shop: {}}\n"
        "order: {by: fullDocumentt.accountId}\n"
        "pipeline:\n"
        "  - name: filter\n"
        "    config:\n"
        "      when: event.fullDocument.total >= limit\n"
        "  - name: http\n"
        "    config:\n"
        "      endpoint: https://example.com/\n"
        f"      sign: {{secret: {key}}}\n"
    )
    found = validate(config)
    assert found.returncode == 2
    shown = found.stdout + found.stderr
    assert 'config.yml:2: order.by: a change event has no field "fullDocumentt"; did you mean "fullDocument"?' in shown
    assert (
        "config.yml:6: pipeline[0].config.when: character 29 of the expression: undeclared reference to 'limit'"
        in shown
    )
    assert "config.yml:10: pipeline[1].config.sign.secret: not a signing secret; write whsec_" in shown
    assert key.removeprefix("whsk_") not in shown
