"""The Host header, which tells a page of another origin (DNS rebinding) from an operator."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from mess.admin import AdminServer
from mess.admin.hosts import Hosts
from tests.unit.admin.test_server import FakeControls, FakeView


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    server = AdminServer("127.0.0.1", 0, FakeView(), FakeControls(), hosts=["mess", "*.shop.example"])
    await server.start()
    async with aiohttp.ClientSession(server.url) as session:
        yield session
    await server.stop()


@pytest.mark.parametrize("path", ["/", "/count", "/status", "/nowhere"])
async def test_a_foreign_name_is_turned_away_with_the_remedy(http: aiohttp.ClientSession, path: str) -> None:
    """Whatever it asks for; the answer names the option, and holds nothing of the relay."""
    answer = await http.get(path, headers={"Host": "attacker.example:3000"})
    assert answer.status == 421
    assert await answer.json() == {
        "error": "this server does not answer to the host name attacker.example; use its IP address or localhost, or "
        "add the name to the config: admin: {hosts: [attacker.example]}"
    }
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_probes_and_scrapers_may_use_any_name(http: aiohttp.ClientSession, path: str) -> None:
    """As in Kubernetes, without any option."""
    assert (await http.get(path, headers={"Host": "mess-7d4f.shop.svc.cluster.local:3000"})).status == 200


@pytest.mark.parametrize("host", ["mess", "mess:3000", "MESS.", "a.shop.example", "localhost:80", "127.0.0.1"])
async def test_own_names_are_answered(http: aiohttp.ClientSession, host: str) -> None:
    """IP addresses, localhost, and the names and globs of `admin.hosts`, in any case."""
    assert (await http.get("/status", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    ("header", "accepted"),
    [
        ("localhost", True),
        ("LocalHost:3000", True),
        ("10.0.0.7:3000", True),
        ("[fe80::1%25eth0]:3000", True),
        ("[fe80::1%br-0.100]", True),
        ("[fe80::1%attacker.example]", False),
        ("[fe80::1%]", False),
        ("::1", True),
        ("localhost.attacker.example", False),
        ("127.0.0.1.attacker.example:80", False),
        ("xlocalhost", False),
        ("localhost@attacker.example", False),
        ("attacker.example:", False),
        ("[attacker.example]:80", False),
        ("", False),
        ("*", False),
    ],
)
def test_what_a_header_names(header: str, accepted: bool) -> None:
    """Ports do not matter; what only looks like an address or localhost is a foreign name."""
    assert Hosts([]).accept(header) is accepted


def test_every_name_may_be_allowed() -> None:
    """`hosts: ["*"]` turns the check off."""
    assert Hosts(["*"]).accept("anything.example:1")


async def test_no_answer_names_the_server_software(http: aiohttp.ClientSession) -> None:
    """Neither pages nor errors."""
    for path, method in [("/", "GET"), ("/status", "HEAD"), ("/nowhere", "GET"), ("/count", "POST")]:
        answer = await http.request(method, path)
        assert "Server" not in answer.headers
        assert "aiohttp" not in str(answer.headers).lower()
    strange = await http.get("/", headers={"Expect": "nothing"})
    assert (strange.status, "Server" in strange.headers) == (417, False)


@pytest.mark.parametrize("path", ["/status", "/nowhere"])
async def test_an_expectation_is_not_repeated(http: aiohttp.ClientSession, path: str) -> None:
    """The answer to one that is unknown, which comes before the check of the Host header, says nothing else."""
    answer = await http.get(path, headers={"Host": "attacker.example", "Expect": "<b>something</b>"})
    assert (answer.status, await answer.text()) == (417, "unknown expectation\n")
