"""Dead letters in the console: find, understand, replay, discard."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Console

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_letters_are_replayed_by_filter_after_their_number_was_confirmed(console: Console) -> None:
    """First the count of the server, then exactly these; the progress is shown."""
    async with console("failing", "#/letters") as (visit, fake):
        page = visit.page
        await expect(page.get_by_role("heading", level=2)).to_contain_text("128 stored")
        await page.get_by_label("Reason has").fill("currency")
        await expect(page.get_by_role("heading", level=2)).to_contain_text("43 match")
        assert page.url.endswith("#/letters?reason=currency")
        await page.get_by_role("button", name="Replay 43 …").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("43 dead letters")
        await dialog.get_by_role("button", name="Replay 43", exact=True).click()
        await expect(page.get_by_role("region", name="Replays")).to_contain_text("43 delivered, 0 stay, 0 to go")
        wanted = {"filter": {"reason": "currency"}, "all": False}
        assert [body for _, _, body in fake.requests] == [{**wanted, "dry_run": True}, {**wanted, "expected": 43}]
        await page.get_by_label("Reason has").fill("")
        await expect(page.get_by_role("heading", level=2)).to_contain_text("85 stored")


async def test_another_number_than_confirmed_is_refused_and_counted_again(console: Console) -> None:
    """Two browsers that replay the same letters do not surprise each other."""
    async with console("failing", "#/letters") as (visit, fake):
        page = visit.page
        await page.get_by_role("button", name="Discard 128 …").click()
        dialog = page.get_by_role("dialog")
        await expect(dialog).to_contain_text("128 dead letters")
        del fake.letters["msg_00003"]
        await dialog.get_by_role("button", name="Discard 128", exact=True).click()
        await expect(dialog.get_by_role("alert")).to_contain_text("127 dead letters match now, not 128")
        await dialog.get_by_role("button", name="Count again").click()
        await dialog.get_by_role("button", name="Discard 127", exact=True).click()
        await expect(page.get_by_text("No dead letters")).to_be_visible()
        assert fake.requests[-1][2] == {"filter": {}, "all": True, "expected": 127}


async def test_one_letter_shows_what_was_sent_and_what_was_answered(console: Console) -> None:
    """Its address can be shared; differences are marked by a sign, not only by colour."""
    async with console("failing", "#/letters?id=msg_00100") as (visit, fake):
        page = visit.page
        letter = page.get_by_role("article", name="Dead letter")
        await expect(letter).to_contain_text('{"error":"unknown currency","currency":"XXX"}')
        await expect(letter.get_by_role("row")).to_have_count(4)
        given = letter.get_by_role("region", name="What http was given")
        await expect(given.locator(".added").first).to_have_text('+   "order": "order-100",')
        await letter.get_by_role("button", name="Replay this one …").click()
        await page.get_by_role("dialog").get_by_role("button", name="Replay 1", exact=True).click()
        await expect(page.get_by_role("dialog")).to_have_count(0)
        assert fake.requests[-1][2] == {"filter": {"ids": ["msg_00100"]}, "all": False, "expected": 1}


async def test_a_letter_is_tried_without_sending(console: Console) -> None:
    """The event goes into the form as it is, and each step's output is shown."""
    async with console("failing", "#/letters?id=msg_00100") as (visit, fake):
        page = visit.page
        await page.get_by_role("button", name="Try without sending").click()
        await expect(page.get_by_role("textbox")).to_have_value(re.compile("order-100"))
        await page.get_by_role("button", name="Try it").click()
        result = page.get_by_role("region", name="Result")
        await expect(result).to_contain_text("Would send")
        await expect(result).to_contain_text("https://hooks.example.com/orders")
        body = fake.requests[-1][2]
        assert (body["pipeline"], body["event"]["documentKey"]) == ("shop.orders", {"_id": "order-100"})


async def test_documents_need_the_token(console: Console) -> None:
    """The picture is there without it; a wrong one is said to be wrong."""
    async with console("failing", token="open sesame") as (visit, _):
        page = visit.page
        await expect(page.locator(".pipelines > li")).to_have_count(3)
        await page.get_by_role("link", name="Dead letters").first.click()
        await page.get_by_label("Token", exact=True).fill("wrong")
        await page.get_by_role("button", name="Use the token").click()
        await expect(page.get_by_text("still says no")).to_be_visible()
        await page.get_by_label("Token", exact=True).fill("open sesame")
        await page.get_by_role("button", name="Use the token").click()
        await expect(page.get_by_role("list", name="Dead letters, newest first")).to_be_visible()
        assert await page.evaluate("sessionStorage.length + localStorage.length") == 0
