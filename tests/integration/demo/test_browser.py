"""The request bin's page in a real browser: Debian's chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp
import orjson
import pytest

from mess.demo.bin import Answer, Received, RequestBin
from mess.demo.history import MOST
from tests.conftest import server_missing
from tests.unit.demo.webhooks import CHANGE, post

if TYPE_CHECKING:
    from playwright.async_api import Page

browsers = pytest.importorskip("playwright.async_api", reason="Playwright is not installed: pip install playwright")
expect = browsers.expect

_WIDEST = "Math.max(...[...document.querySelectorAll('*')].map((each) => each.getBoundingClientRect().right))"
_HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"


@asynccontextmanager
async def _opened(requests: RequestBin, width: int = 1280) -> AsyncIterator[Page]:
    """The page, with nothing in the browser's console at the end."""
    chromium = shutil.which("chromium") or server_missing("chromium is not installed: apt install chromium")
    said: list[str] = []
    async with browsers.async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            page = await browser.new_page(viewport={"width": width, "height": 740})
            page.on("console", lambda message: said.append(message.text))
            page.on("pageerror", lambda error: said.append(str(error)))
            await page.goto(requests.page)
            await expect(page.locator("#connection")).to_have_text("live")
            yield page
        finally:
            await browser.close()
    assert said == []


async def test_a_webhook_appears_and_is_text_whatever_it_contains() -> None:
    """Live, with the signature's result; markup in any part of a request is shown and does not run."""
    async with RequestBin() as requests, _opened(requests) as page, aiohttp.ClientSession() as client:
        await expect(page.locator("#empty")).to_be_visible()
        hostile = {
            "operationType": _HOSTILE,
            "ns": {"db": _HOSTILE, "coll": _HOSTILE},
            "documentKey": {"_id": _HOSTILE},
        }
        await post(client, requests, "msg_1", hostile, headers={"X-Hostile": _HOSTILE})
        row = page.locator("#list button")
        await expect(row).to_contain_text("valid")
        await expect(row).to_contain_text(f"{_HOSTILE}.{_HOSTILE} {_HOSTILE}")
        await expect(page.locator("#title")).to_contain_text(_HOSTILE)
        await expect(page.locator("#headers")).to_contain_text(_HOSTILE)
        assert await page.locator("#body").text_content() == orjson.dumps(hostile, option=orjson.OPT_INDENT_2).decode()
        requests.history.announce(_HOSTILE)
        await expect(page.locator("#act")).to_have_text(_HOSTILE)
        async with client.post(requests.url, data=_HOSTILE) as response:
            assert response.status == 400
        await expect(page.locator("#body")).to_have_text(_HOSTILE)
        await expect(page.locator("#facts [data-result=unsigned]")).to_be_visible()
        assert await page.locator("main img, main script").count() == 0
        assert await page.title() == "Request bin"


async def test_filter_pause_and_keyboard() -> None:
    """Everything can be done without a mouse, and a selected request stays while others arrive."""
    async with RequestBin() as requests, _opened(requests) as page, aiohttp.ClientSession() as client:
        rows = page.locator("#list li:visible")
        for number in range(3):
            await post(client, requests, f"msg_{number}", {**CHANGE, "documentKey": {"_id": number}})
        await expect(rows).to_have_count(3)
        await page.keyboard.press("ArrowDown")
        await page.keyboard.press("ArrowDown")
        await expect(page.locator("#title")).to_have_text("insert d.orders 1")

        await page.keyboard.press("p")
        await post(client, requests, "msg_3", {**CHANGE, "documentKey": {"_id": "teapot"}})
        await expect(page.locator("#pause")).to_have_text("Resume (1 new)")
        await expect(rows).to_have_count(3)
        await page.keyboard.press("p")
        await expect(rows).to_have_count(4)
        await expect(page.locator("#title")).to_have_text("insert d.orders 1")
        await page.keyboard.press("Escape")
        await expect(page.locator("#title")).to_have_text("insert d.orders teapot")

        await page.keyboard.press("/")
        await page.keyboard.type("TEAPOT")
        await expect(rows).to_have_count(1)
        await expect(page.locator("#count")).to_have_text("1 of 4 requests")
        await page.keyboard.press("Escape")
        await expect(rows).to_have_count(4)


async def test_it_keeps_200_requests_and_says_when_the_demo_ends() -> None:
    """While requests arrive faster than anyone reads, and in a narrow window, without scrolling sideways."""
    async with RequestBin() as requests, aiohttp.ClientSession() as client, _opened(requests, width=360) as page:

        async def down(event: Received) -> Answer:
            return Answer(503)

        requests.answer = down
        for number in range(2 * MOST):
            await post(client, requests, f"msg_{number}")
        await expect(page.locator("#count")).to_have_text(f"{MOST} of {2 * MOST} requests")
        assert await page.locator("#list li").count() == MOST
        await page.keyboard.press("p")
        await post(client, requests, "msg_later")
        await expect(page.locator("#pause")).to_have_text("Resume (1 new)")
        assert await page.evaluate(_WIDEST) <= 360
        await page.locator("#list button").first.click()
        await expect(page.locator("#facts")).to_contain_text("503")
        assert await page.evaluate(_WIDEST) <= 360
        requests.history.close()
        await expect(page.locator("#connection")).to_have_text("the demo has ended")
