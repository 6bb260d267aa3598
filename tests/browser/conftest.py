"""The console in a real browser: Debian's chromium, driven by Playwright. Without one, these tests are skipped."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.browser.fake import Fake
from tests.conftest import server_missing

PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)  # a browser beside three other tests may be slow

# What a browser logs by itself when a request gets no answer, or one that says no; no page can prevent it.
_REFUSED = re.compile(r"Failed to load resource: (net::ERR_|the server responded with a status of (401|409) )")


def chromium() -> str:
    """The browser's program."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if (found := shutil.which(name)) is not None:
            return found
    return server_missing("chromium is not installed; `make services` installs it")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests; each has its own context in it."""
    program = chromium()
    async with async_playwright() as playwright:
        found = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield found
        await found.close()


@dataclass
class Visit:
    """A page of the console, and what went wrong in it."""

    page: Page
    url: str
    errors: list[str] = field(default_factory=list)

    async def go(self, fragment: str = "") -> None:
        """Open the console, or another view of it."""
        await self.page.goto(f"{self.url}/app/{fragment}")
        await self.page.wait_for_selector("main > section, main .panel, main .split, main form >> visible=true")

    def watch(self) -> None:
        """Record errors: scripts that fail, violations of the policy, and everything else in the browser's console."""
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda line: self._logged(line.type, line.text))
        self.page.on("dialog", lambda dialog: self.errors.append(f"dialog: {dialog.message}"))

    def _logged(self, kind: str, text: str) -> None:
        if kind in ("error", "warning") and not _REFUSED.match(text):
            self.errors.append(text)


@asynccontextmanager
async def visiting(browser: Browser, url: str, **options: Any) -> AsyncIterator[Visit]:
    """A page in a context of its own; fails if there was an error in it."""
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    try:
        visit = Visit(await context.new_page(), url)
        visit.page.set_default_timeout(PATIENCE_MS)
        visit.watch()
        yield visit
        assert not visit.errors
    finally:
        await context.close()


@asynccontextmanager
async def serving(app: web.Application) -> AsyncIterator[str]:
    """The address of an application that is served meanwhile."""
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


Console = Callable[..., AbstractAsyncContextManager[tuple[Visit, Fake]]]


@pytest.fixture
def console(browser: Browser) -> Console:
    """`async with console("busy") as (visit, fake)`: the console of a relay that does not exist."""

    @asynccontextmanager
    async def opened(
        scenario: str = "busy", fragment: str = "", token: str | None = None, **options: Any
    ) -> AsyncIterator[tuple[Visit, Fake]]:
        fake = Fake(scenario, token=token)
        async with serving(fake.app()) as url, visiting(browser, url, **options) as visit:
            await visit.go(fragment)
            yield visit, fake
            fake.away = True  # ends live tails

    return opened
