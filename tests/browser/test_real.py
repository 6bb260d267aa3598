"""The console of a real relay: a real MongoDB, a receiver that refuses, and a click that sends again."""

from __future__ import annotations

import re

from playwright.async_api import async_playwright, expect

from tests.browser.conftest import chromium, visiting
from tests.integration.relay.conftest import Lab, lab, receiver  # noqa: F401 - fixtures
from tests.receiver import Answer, Request
from tests.waiting import until


def refuse_odd(request: Request) -> Answer:
    return Answer(422, body=b"odd numbers are not welcome") if request.json["documentKey"]["_id"] % 2 else Answer()


async def test_a_dead_letter_is_understood_replayed_and_arrives(lab: Lab) -> None:  # noqa: F811
    """From the picture to the letter, why it was refused, and one click; then it arrives."""
    program = chromium()
    lab.receiver.respond = refuse_odd
    async with lab.running() as relay, async_playwright() as playwright:
        assert relay.admin is not None
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        async with visiting(browser, relay.admin.url) as visit:
            page = visit.page
            await visit.go()
            lab.db.orders.insert_many([{"_id": number, "total": 40 + number} for number in range(4)])
            http = page.locator(".step", has_text="http")
            await http.get_by_role("link", name="2").click()
            row = page.get_by_role("link", name=re.compile(r"orders insert 3"))
            await expect(row).to_contain_text("odd numbers are not welcome")
            await row.click()
            letter = page.get_by_role("article", name="Dead letter")
            await expect(letter).to_contain_text("odd numbers are not welcome")
            await expect(letter).to_contain_text('"total": 43')
            await letter.get_by_role("button", name="Replay this one …").click()
            lab.receiver.respond = None
            await page.get_by_role("dialog").get_by_role("button", name="Replay 1", exact=True).click()
            await until(lambda: {0, 2, 3} <= arrived(lab), "the replayed event")
            await expect(page.get_by_role("region", name="Replays")).to_contain_text("1 delivered, 0 stay")
            await expect(page.get_by_role("heading", level=2)).to_contain_text("1 match")
            assert arrived(lab) == {0, 2, 3}
        await browser.close()


async def test_a_paused_pipeline_delivers_nothing_until_it_is_resumed(lab: Lab) -> None:  # noqa: F811
    """The button does what it says."""
    program = chromium()
    async with lab.running() as relay, async_playwright() as playwright:
        assert relay.admin is not None
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        async with visiting(browser, relay.admin.url) as visit:
            page = visit.page
            await visit.go()
            await page.get_by_role("button", name="Pause pipeline top level").click()
            await page.get_by_label("Reason").fill("maintenance")
            await page.get_by_role("dialog").get_by_role("button", name="Pause", exact=True).click()
            card = page.locator(".pipelines > li")
            await expect(card).to_contain_text("maintenance")
            lab.db.orders.insert_one({"_id": 1})
            await expect(card).to_contain_text("1 in flight")
            await expect(page.get_by_role("main")).not_to_contain_text("running out")  # it is the pause, not the oplog
            assert arrived(lab) == set()
            await page.get_by_role("button", name="Resume pipeline top level").click()
            await page.get_by_role("dialog").get_by_role("button", name="Resume", exact=True).click()
            await until(lambda: arrived(lab) == {1}, "the event that waited")
            await expect(card).to_contain_text("Flowing")
        await browser.close()


async def test_the_live_tail_shows_what_each_step_made_of_a_real_event(lab: Lab) -> None:  # noqa: F811
    """From a write in MongoDB to its path in the browser."""
    program = chromium()
    shape = {"name": "field-map", "config": {"fields": {"order": "documentKey._id"}}}
    async with lab.running(pipeline=[shape, lab.http]) as relay, async_playwright() as playwright:
        assert relay.admin is not None
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        async with visiting(browser, relay.admin.url) as visit:
            page = visit.page
            await visit.go("#/tail")
            await expect(page.get_by_text("Live", exact=True)).to_be_visible()
            lab.db.orders.insert_one({"_id": 7, "secret": "shown to whoever may see it"})
            await page.get_by_role("button", name=re.compile("orders insert 7")).click()
            event = page.get_by_role("article", name="Event")
            await expect(event.get_by_role("region", name="After field-map")).to_contain_text('"order": 7')
            await expect(event.get_by_role("listitem").filter(has_text="http")).to_contain_text("Delivered")
            id_ = await event.locator("code").first.inner_text()
            await page.get_by_label("Find an event").fill(id_)
            await expect(page.get_by_role("region", name="Where the event is")).to_contain_text("Delivered")
        await browser.close()


def arrived(lab: Lab) -> set[int]:  # noqa: F811
    """The keys of the documents that the receiver has accepted."""
    return {each.json["documentKey"]["_id"] for each in lab.receiver.requests if each.answer.status == 200}
