"""The other views: live tail, progress, config; and what holds for all of them."""

from __future__ import annotations

import re
from typing import Any, Literal

import pytest
from aiohttp import web
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, expect

from tests.browser.conftest import Console, serving, visiting
from tests.browser.fake import Fake
from tests.browser.scenarios import HOSTILE

pytestmark = pytest.mark.asyncio(loop_scope="session")

VIEWS = ("", "#/letters", "#/letters?id=msg_00002", "#/tail", "#/progress", "#/try", "#/config")
AXE = {
    "light": {"resultTypes": ["violations"]},
    # Nothing else depends on the theme.
    "dark": {"resultTypes": ["violations"], "runOnly": {"type": "rule", "values": ["color-contrast"]}},
}
SERIOUS = ("serious", "critical")


async def test_the_tail_shows_events_as_they_finish_and_the_path_of_one(console: Console) -> None:
    """What each step made of it; what was not shown is counted; the list can be stopped."""
    async with console("busy", "#/tail") as (visit, _):
        page = visit.page
        rows = page.get_by_role("list", name="Events, newest first").get_by_role("listitem")
        await expect(rows.nth(5)).to_be_visible()
        await expect(page.get_by_text(re.compile(r"\d+ lost: sampled out"))).to_be_visible()
        await page.get_by_role("button", name="Pause the list").click()
        await expect(page.get_by_text("List paused")).to_be_visible()
        first = await rows.first.locator(".first").inner_text()
        await rows.filter(has_text="Delivered").first.get_by_role("button").click()
        event = page.get_by_role("article", name="Event")
        await expect(event.get_by_role("listitem")).to_have_count(4)
        await expect(event.get_by_role("region", name="After field-map")).to_contain_text('"source": "shop"')
        await expect(page.get_by_text(re.compile(r"[1-9]\d* new\."))).to_be_visible()
        assert await rows.first.locator(".first").inner_text() == first
        await page.get_by_label("Outcome").select_option("dead_letter")
        await page.get_by_role("button", name="Go on").click()
        await expect(rows.filter(has_text="Dead letter")).not_to_have_count(0)
        await expect(rows.filter(has_text="Delivered")).to_have_count(0)


async def test_an_event_is_found_by_its_id(console: Console) -> None:
    """Where it is, and why, in a sentence; the address can be shared."""
    async with console("failing", "#/tail") as (visit, fake):
        await visit.page.get_by_label("Find an event").fill("msg_FHZ4Q2N7")
        found = visit.page.get_by_role("region", name="Where the event is")
        await expect(found).to_contain_text("waits for step http of pipeline shop.orders")
        assert visit.page.url.endswith("#/tail?id=msg_FHZ4Q2N7")
        fake.away = True


async def test_the_tail_connects_again(console: Console) -> None:
    """A relay that restarts ends the stream of events; the page asks for it again."""
    async with console("busy", "#/tail") as (visit, fake):
        live = visit.page.get_by_text("Live", exact=True)
        await expect(live).to_be_visible()
        fake.away = True
        await expect(visit.page.get_by_text("Connection lost, tries again")).to_be_visible()
        fake.away = False
        await expect(live).to_be_visible()


async def test_a_backfill_is_paused(console: Console) -> None:
    """Progress, what is left, and buttons for what its state allows."""
    async with console("failing", "#/progress") as (visit, fake):
        page = visit.page
        row = page.get_by_role("row", name=re.compile("^shop.orders"))
        await expect(row).to_contain_text("412,000 of about 1,240,000")
        await page.get_by_role("button", name="Pause the backfill of shop.orders").click()
        await page.get_by_role("dialog").get_by_role("button", name="Pause the backfill").click()
        await expect(row).to_contain_text("Paused")
        assert fake.requests[-1] == ("POST", "/api/v1/backfills/b0", {"wanted": "paused"})
        await expect(page.get_by_role("region", name="Gaps").first).to_contain_text("Stream waits for a decision")


async def test_the_config_says_where_each_value_was_set(console: Console) -> None:
    """And can be searched."""
    async with console("busy", "#/config") as (visit, _):
        await visit.page.get_by_label("Find").fill("secret")
        rows = visit.page.get_by_role("row")
        await expect(rows).to_have_count(2)
        await expect(rows.nth(1)).to_contain_text("config.yml:31, ${SECRET}")


async def test_a_reload_that_finds_a_mistake_says_so(console: Console) -> None:
    """And that the old config stays."""
    async with console("busy", "#/config") as (visit, _):
        page = visit.page
        await page.get_by_role("button", name="Reload …").click()
        await page.get_by_role("dialog").get_by_role("button", name="Reload", exact=True).click()
        await expect(page.get_by_text("the old one stays")).to_be_visible()
        await expect(page.get_by_text("did you mean pipeline?")).to_be_visible()


async def test_hostile_texts_are_texts(console: Console) -> None:
    """Names, documents and answers from outside run nothing and hide nothing."""
    shown = HOSTILE.replace("\u202e", "\\u202e").replace("\x07", "\\u0007")
    async with console("hostile") as (visit, _):
        for view in VIEWS:
            await visit.go(view)
            await expect(visit.page.get_by_text(shown).first).to_be_attached()
            await visit.page.wait_for_timeout(200)
            assert await visit.page.locator("[onerror], img[src='x']").count() == 0
            assert "\u202e" not in await visit.page.locator("body").inner_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_axe_finds_nothing_serious(console: Console, theme: Literal["light", "dark"]) -> None:
    """Names, roles, contrast: in both themes, in trouble, with a dialog too."""
    found: dict[str, Any] = {}
    for scenario in ("active", "standby", "kafka-worker"):
        async with console(scenario, color_scheme=theme, reduced_motion="reduce") as (visit, _):
            found[scenario] = (await Axe().run(visit.page, options=AXE[theme])).response["violations"]
    async with console("failing", color_scheme=theme, reduced_motion="reduce") as (visit, _):
        for view in VIEWS:
            await visit.go(view)
            await visit.page.wait_for_timeout(300)
            found[view] = (await Axe().run(visit.page, options=AXE[theme])).response["violations"]
        await visit.go("")
        await visit.page.get_by_role("button", name="Pause stream shop").click()
        found["dialog"] = (await Axe().run(visit.page, options=AXE[theme])).response["violations"]
    serious = [
        (view, each["id"], each["nodes"][0]["html"][:200])
        for view, violations in found.items()
        for each in violations
        if each["impact"] in SERIOUS
    ]
    assert not serious


async def test_everything_fits_on_a_narrow_screen(console: Console) -> None:
    """Nothing but tables and documents scrolls sideways at 360 pixels."""
    for scenario in ("failing", "hostile"):
        async with console(scenario, viewport={"width": 360, "height": 740}) as (visit, _):
            for view in VIEWS:
                await visit.go(view)
                await visit.page.wait_for_timeout(150)
                assert await visit.page.evaluate("document.documentElement.scrollWidth") == 360, (scenario, view)
    for scenario in ("active", "standby", "kafka-worker"):
        async with console(scenario, viewport={"width": 360, "height": 740}) as (visit, _):
            assert await visit.page.evaluate("document.documentElement.scrollWidth") == 360, scenario


async def test_the_page_is_small_and_appears_at_once(console: Console) -> None:
    """Less than 150 kB, even uncompressed, and painted within a second."""
    async with console("busy") as (visit, _):
        paint = "performance.getEntriesByName('first-contentful-paint')"
        await visit.page.wait_for_function(f"{paint}.length")
        sizes = await visit.page.evaluate(
            "performance.getEntries().filter(e => e.decodedBodySize && !e.name.includes('/api/'))"
            ".map(e => [e.transferSize, e.decodedBodySize])"
        )
        assert len(sizes) > 15
        assert sum(sent for sent, _ in sizes) < 80_000
        assert sum(size for _, size in sizes) < 150_000
        paints = []
        for _ in range(3):  # other tests may have the processors
            await visit.page.reload()
            await visit.page.wait_for_function("performance.getEntriesByName('first-contentful-paint').length")
            paints.append(
                await visit.page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            )
        assert min(paints) < 1000


async def test_a_proxy_may_add_a_prefix_to_the_path(browser: Browser) -> None:
    """All links are relative, with or without a slash at the end."""
    app, fake = web.Application(), Fake("busy")
    app.add_subapp("/ops/mess/", fake.app())
    async with serving(app) as url, visiting(browser, f"{url}/ops/mess") as visit:
        await visit.page.goto(f"{visit.url}/app")
        await expect(visit.page.locator(".pipelines > li")).to_have_count(3)
        assert visit.page.url == f"{visit.url}/app/"
