"""The picture: what flows, what does not and why, and pausing it."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Console

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_rates_follow_from_the_counts_and_the_page_updates_itself(console: Console) -> None:
    """Without a reload, the page shows what flows."""
    async with console("busy") as (visit, _):
        figures = visit.page.locator(".figures > div")
        await expect(figures.filter(has_text="Throughput")).to_contain_text(re.compile(r"1,8\d\d/s"))
        done = figures.filter(has_text="Lag")
        await expect(done).to_contain_text("0.4 s")
        http = visit.page.locator(".step", has_text="POST https://hooks.example.com/orders")
        await expect(http).to_contain_text(re.compile(r"1,2\d\d/s"))
        await expect(http).to_contain_text("42 ms")
        await expect(visit.page.locator(".edges .moving")).to_have_count(5)
        assert await visit.page.title() == "Flow · shop-relay"


async def test_what_waits_says_why_once_and_comes_first(console: Console) -> None:
    """The cause, since when, how many, the oldest, the next attempt, what helps: in a sentence at the pipeline."""
    async with console("failing") as (visit, fake):
        first = visit.page.locator(".pipelines > li").first
        await expect(first).to_contain_text("shop.orders")
        await expect(first).to_contain_text("Sink down")
        wait = fake.world.status().pipelines[0].wait
        assert wait is not None
        await expect(visit.page.get_by_text(wait.text)).to_have_count(1)
        await expect(visit.page.locator(".streams > li").first).to_contain_text("Blocked")
        await expect(visit.page.locator(".figures > div", has_text="headroom")).to_contain_text("40 min")


async def test_200_pipelines_are_a_list_that_can_be_filtered(console: Console) -> None:
    """Those in trouble come first; the address holds the filter."""
    async with console("many") as (visit, _):
        page = visit.page
        rows = page.locator(".pipelines > li.card")
        await expect(rows).to_have_count(50)
        await expect(rows.nth(2)).to_contain_text("Sink down")
        await expect(rows.nth(3)).to_contain_text("Paused")
        await page.get_by_role("button", name=re.compile("^In trouble")).click()
        await expect(rows).to_have_count(3)
        assert page.url.endswith("#/?state=trouble")
        await page.get_by_role("button", name=re.compile("^All")).click()
        await page.get_by_label("Order", exact=True).select_option("rate")
        await expect(rows.first).to_contain_text(re.compile("tenant_(017|107|197)"))
        await page.get_by_role("searchbox").fill("tenant_17")
        await expect(rows).to_have_count(10)
        row = rows.filter(has_text="tenant_170")
        await row.get_by_role("button", name="tenant_170.orders", exact=True).click()
        await expect(row.locator(".step")).to_have_count(3)


async def test_a_step_is_paused_and_resumed_with_a_reason(console: Console) -> None:
    """Two clicks, with the keyboard too; the focus comes back."""
    async with console("busy") as (visit, fake):
        page = visit.page
        button = page.get_by_role("button", name="Pause step http of shop.orders")
        await button.focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_contain_text("Nothing is lost")
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)
        await expect(button).to_be_focused()
        await button.click()
        await page.get_by_label("Reason").fill("the receiver moves")
        await page.keyboard.press("Enter")
        card = page.locator(".pipelines > li", has_text="shop.orders")
        await expect(card).to_contain_text("the receiver moves")
        expected = {"pipeline": "shop.orders", "step": "http", "reason": "the receiver moves"}
        assert fake.requests == [("POST", "/api/v1/pause", expected)]
        await page.get_by_role("button", name="Resume step http of shop.orders").click()
        await page.get_by_role("dialog").get_by_role("button", name="Resume", exact=True).click()
        await expect(card).not_to_contain_text("the receiver moves")
        assert fake.world.pauses == []


async def test_what_flows_is_seen_to_flow(console: Console) -> None:
    """The lines move, and between steps too."""
    async with console("busy") as (visit, _):
        moving = visit.page.locator(".edges .moving").first
        offsets = set()
        for _ in range(5):
            offsets.add(await moving.evaluate("node => getComputedStyle(node).strokeDashoffset"))
            await visit.page.wait_for_timeout(90)
        assert len(offsets) > 2
        assert await visit.page.evaluate("document.getAnimations().length") == 2


async def test_less_motion_is_respected(console: Console) -> None:
    """Nothing moves for readers who ask for that."""
    async with console("busy", reduced_motion="reduce") as (visit, _):
        moving = visit.page.locator(".edges .moving").first
        await expect(moving).to_be_attached()
        offset = "node => getComputedStyle(node).strokeDashoffset"
        before = await moving.evaluate(offset)
        await visit.page.wait_for_timeout(200)
        assert await moving.evaluate(offset) == before
        assert await visit.page.evaluate("document.getAnimations().length") == 0


async def test_a_lost_connection_is_said_and_comes_back_by_itself(console: Console) -> None:
    """The last picture stays, marked as old; nothing has to be reloaded."""
    async with console("busy") as (visit, fake):
        page = visit.page
        alert = page.get_by_role("alert")
        await expect(alert).to_be_empty()
        fake.away = True
        await expect(alert).to_contain_text("Connection lost")
        await expect(page.get_by_role("banner")).not_to_contain_text("Ready")
        await expect(page.locator(".pipelines > li")).to_have_count(3)
        fake.away = False
        await page.get_by_role("button", name="Try now").click()
        await expect(alert).to_be_empty()
        fake.away = True
        await expect(alert).to_contain_text("Next try in")
        fake.away = False
        await expect(alert).to_be_empty()
