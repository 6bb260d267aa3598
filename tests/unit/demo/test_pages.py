"""The request bin's page: what it is sent, and to whom."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson
import pytest

from mess.demo import pages
from mess.demo.bin import RequestBin
from mess.demo.history import BODY_BYTES, MOST
from mess.demo.pages import MOST_PAGES
from tests.unit.demo.webhooks import CHANGE, post
from tests.waiting import PATIENCE


class Page:
    """A browser's end of the stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._lines = response.content

    async def next(self) -> tuple[str, Any]:
        """The next event's name, which is its id for a request, and its data."""
        async with asyncio.timeout(PATIENCE):
            fields = {}
            while line := (await self._lines.readline()).decode().rstrip("\n"):
                name, _, value = line.partition(": ")
                fields[name] = value
        return fields.get("event", fields.get("id", "")), orjson.loads(fields["data"])


@asynccontextmanager
async def _page(client: aiohttp.ClientSession, requests: RequestBin, after: str | None = None) -> AsyncIterator[Page]:
    headers = {} if after is None else {"Last-Event-ID": after}
    async with client.get(f"{requests.page}/events", headers=headers) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        page = Page(response)
        assert (await page.next())[0] == "hello"
        yield page


async def test_a_page_shows_each_webhook_live() -> None:
    """With headers, body, answer and signature; existing documents, replays and repetitions are marked."""
    async with RequestBin() as requests, aiohttp.ClientSession() as client, _page(client, requests) as page:
        await post(client, requests, "msg_1", {**CHANGE, "operationType": "read"}, headers={"X-Note": "é"})
        name, shown = await page.next()
        assert name == "1"
        assert (shown["operation"], shown["namespace"], shown["key"]) == ("read", "d.orders", "7")
        assert (shown["status"], shown["signature"]["result"], shown["marks"]) == (200, "valid", ["existing"])
        assert ["X-Note", "é"] in shown["headers"]
        assert orjson.loads(shown["body"]) == {**CHANGE, "operationType": "read"}
        assert '\n  "operationType"' in shown["body"]
        await post(client, requests, "msg_1", headers={"mess-replay": "true"})
        name, shown = await page.next()
        assert (name, shown["marks"]) == ("2", ["replayed", "again"])


async def test_a_page_that_opens_later_gets_the_last_200() -> None:
    async with RequestBin() as requests, aiohttp.ClientSession() as client:
        for number in range(MOST + 5):
            await post(client, requests, f"msg_{number}")
        async with _page(client, requests) as page:
            numbers = [(await page.next())[0] for _ in range(MOST)]
    assert numbers == [str(number) for number in range(6, MOST + 6)]


@pytest.mark.parametrize(("after", "first"), [("2", "3"), ("4", "1"), ("x", "1"), ("9" * 5000, "1"), ("-1", "1")])
async def test_a_page_that_was_cut_off_gets_what_it_missed(after: str, first: str) -> None:
    """A browser repeats the number of the last request that it has."""
    async with RequestBin() as requests, aiohttp.ClientSession() as client:
        for number in range(3):
            await post(client, requests, f"msg_{number}")
        async with _page(client, requests, after) as page:
            assert (await page.next())[0] == first


async def test_bodies_and_headers_are_cut() -> None:
    """At 64 KiB and 2 KiB; the rest of a long body is not even kept."""
    async with RequestBin() as requests, aiohttp.ClientSession() as client, _page(client, requests) as page:
        long = orjson.dumps({**CHANGE, "text": "x" * 200_000})
        await post(client, requests, body=long, headers={"X-Long": "y" * 5000})
        _, shown = await page.next()
        assert (shown["size"], shown["kept"], len(shown["body"])) == (len(long), BODY_BYTES, BODY_BYTES)
        assert max(len(value) for _, value in shown["headers"]) == 2048
        [(_, kept)] = requests.history.after(0)
        assert len(kept.body) == BODY_BYTES


async def test_a_body_that_indentation_would_inflate_stays_as_it_is() -> None:
    """Deeply nested JSON would become hundreds of times as long; deeper still, it cannot be indented at all."""
    async with RequestBin() as requests, aiohttp.ClientSession() as client, _page(client, requests) as page:
        for depth, width in ((200, 20_000), (1000, 1)):
            body = b'{"a":' + b"[" * depth + b",".join([b"1"] * width) + b"]" * depth + b"}"
            await post(client, requests, f"msg_{depth}", body)
            _, shown = await page.next()
            assert shown["body"] == body.decode()


async def test_what_is_no_text_is_shown_all_the_same() -> None:
    async with RequestBin() as requests, aiohttp.ClientSession() as client, _page(client, requests) as page:
        async with client.post(requests.url, data=b"\xff\0<b>", headers={"X-Bytes": "\udcff"}) as response:
            assert response.status == 400
        _, shown = await page.next()
        assert (shown["body"], shown["signature"]["result"]) == ("\ufffd\0<b>", "unsigned")


async def test_a_page_learns_what_the_receiver_does_and_that_it_has_ended() -> None:
    async with aiohttp.ClientSession() as client, RequestBin(console="http://127.0.0.1:1/app") as requests:
        requests.history.announce("the receiver is down")
        async with client.get(f"{requests.page}/events") as response:
            page = Page(response)
            assert (await page.next())[1]["console"] == "http://127.0.0.1:1/app"
            assert await page.next() == ("act", "the receiver is down")
            requests.history.close()
            assert (await page.next())[0] == "end"
            assert await response.content.read() == b""


async def test_pages_are_limited_and_one_that_leaves_makes_room() -> None:
    async with RequestBin() as requests, aiohttp.ClientSession() as client:
        others = [await client.get(f"{requests.page}/events") for _ in range(MOST_PAGES)]
        async with client.get(f"{requests.page}/events") as response:
            assert response.status == 503
        others.pop().close()
        async with asyncio.timeout(5):
            while (response := await client.get(f"{requests.page}/events")).status != 200:
                response.release()
        for page in [*others, response]:
            page.close()


async def test_a_page_that_does_not_read_holds_up_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Webhooks are answered all the same; when it reads again, it continues with what is left."""
    monkeypatch.setattr(pages, "_WRITE_SECONDS", 120.0)
    async with RequestBin() as requests, aiohttp.ClientSession() as client, _page(client, requests) as page:
        body = orjson.dumps({**CHANGE, "text": "x" * 60_000})
        for number in range(3 * MOST):
            assert await post(client, requests, f"msg_{number}", body) == 200
        last = 0
        while last < 3 * MOST:
            name, _ = await page.next()
            assert int(name) > last
            last = int(name)


@pytest.mark.parametrize("path", ["/bin", "/bin.js", "/bin.css", "/bin/events", "/webhook", "/"])
async def test_foreign_host_names_are_refused(path: str) -> None:
    """A page whose name has been made to resolve to this machine reads nothing."""
    async with RequestBin() as requests, aiohttp.ClientSession() as client:
        origin = requests.page.removesuffix("/bin")
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example"):
            async with client.get(origin + path, headers={"Host": host}) as response:
                assert response.status == 421
        if path != "/bin/events":
            async with client.get(origin + path, headers={"Host": "localhost:80"}, allow_redirects=False) as response:
                assert response.status != 421


async def test_it_listens_to_this_machine_only() -> None:
    async with RequestBin() as requests:
        assert requests.page.startswith("http://127.0.0.1:")


@pytest.mark.parametrize("path", ["/bin", "/bin.js", "/bin.css"])
async def test_the_page_may_use_its_own_files_only(path: str) -> None:
    """The policy allows no script, style or connection from elsewhere, nor inline; no file refers to another host."""
    async with (
        RequestBin() as requests,
        aiohttp.ClientSession() as client,
        client.get(requests.page.removesuffix("/bin") + path) as response,
    ):
        assert response.status == 200
        policy = response.headers["Content-Security-Policy"]
        text = await response.text()
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "://" not in text
    assert "innerHTML" not in text
    assert "style=" not in text
