"""Several processes: the active one, its standby, and a member of a consumer group."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Console

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_standby_says_who_is_active_instead_of_showing_nothing(console: Console) -> None:
    """In the header, and in each view that only the active process could fill."""
    async with console("standby") as (visit, _):
        page = visit.page
        banner = page.get_by_role("banner")
        await expect(banner).to_contain_text("Standby")
        await expect(banner).to_contain_text("Ready")
        for view in ("", "#/tail", "#/try"):
            await visit.go(view)
            said = page.get_by_role("region", name="Standby")
            await expect(said).to_contain_text("Standby: ops-2 is active since")
            await expect(said).to_contain_text("takes over 30 s after its last sign of life")
            await expect(said).to_contain_text("ops-2:815")
        assert await page.locator(".pipelines, .streams").count() == 0
        await visit.go("#/progress")
        await expect(page.get_by_role("heading", name="Checkpoints")).to_be_visible()


async def test_the_active_process_is_named_in_the_header(console: Console) -> None:
    async with console("active") as (visit, _):
        role = visit.page.get_by_role("banner").get_by_title("epoch 7")
        await expect(role).to_have_text("Active")
        await expect(visit.page.locator(".pipelines > li")).to_have_count(3)


async def test_without_ha_there_is_no_role(console: Console) -> None:
    async with console("busy") as (visit, _):
        await expect(visit.page.get_by_role("banner")).to_contain_text("Ready")
        await expect(visit.page.get_by_role("banner")).not_to_contain_text("Active")


async def test_a_kafka_worker_shows_partitions_in_place_of_streams(console: Console) -> None:
    """With the messages that are left in each, and its share of the group."""
    async with console("kafka-worker") as (visit, _):
        page = visit.page
        partitions = page.get_by_role("list", name="Partitions").locator("> li")
        await expect(partitions).to_have_count(4)
        third = partitions.filter(has_text="changes.shop[3]")
        await expect(third).to_contain_text("90 messages")
        await expect(third).to_contain_text("8,000")
        await expect(page.locator(".source")).to_contain_text("Kafka")
        figures = page.locator(".figures > div")
        await expect(figures.filter(has_text="Partitions")).to_contain_text("4 of 12")
        await expect(figures.filter(has_text="Members")).to_contain_text("3")
        await expect(figures.filter(has_text="Lag")).to_contain_text("540")
        await expect(page.locator("main")).not_to_contain_text("oplog")
