"""`make screenshot`: runs a relay between the demo's parts and writes docs/console.png and docs/console-dark.png.

Orders flow, some are refused, and what receives the customers is down: the picture shows what the console is for.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.async_api import ViewportSize, async_playwright
from rich.console import Console

from mess.app import Relay
from mess.demo.bin import Answer, Received, RequestBin
from mess.demo.deployment import Deployment, deployment, opened_shop
from mess.demo.ports import free_port
from mess.demo.screen import Screen
from mess.telemetry.logging import configure

_FOLDER = Path(__file__).parent
_SECONDS = 75.0
_RATE = 120.0
_SIZE: ViewportSize = {"width": 1280, "height": 790}
_CONFIG = """\
name: shop-events
mongodb: {{url: "{url}"}}
admin: {{port: 0}}
log: {{level: error}}
databases:
  {database}:
    collections:
      orders:
        pipeline:
          - name: filter
            config: {{when: "event.operationType != 'delete'"}}
          - name: field-map
            config: {{fields: {{order: documentKey._id, status: fullDocument.status, total: fullDocument.total}}}}
          - name: http
            config: {{endpoint: "{endpoint}?to=fulfilment", sign: {{secret: "{secret}"}}}}
      customers:
        pipeline:
          - name: http
            config: {{endpoint: "{endpoint}?to=crm", sign: {{secret: "{secret}"}}}}
"""


async def main() -> None:
    """Let the shop write for a while, and take the picture in both themes."""
    configure("critical", "console")
    screen = Screen(Console(quiet=True))
    with tempfile.TemporaryDirectory() as name:
        async with deployment(None, Path(name)) as where, RequestBin(lambda _: None, port=free_port()) as requests:
            requests.answer = _answer
            path = Path(name) / "config.yml"
            path.write_text(
                _CONFIG.format(url=where.url, database=where.database, endpoint=requests.url, secret=requests.secret)
            )
            await _take(path, where, screen)


async def _answer(event: Received) -> Answer:
    if event.body.get("ns", {}).get("coll") == "customers":
        return Answer(503, "down for maintenance")
    refused = event.body.get("order", 0) % 97 == 0
    return Answer(422, '{"error": "no such article"}') if refused else Answer()


async def _take(path: Path, where: Deployment, screen: Screen) -> None:
    relay = Relay.from_config(path, environ={})
    async with opened_shop(where, screen, _RATE, seed=5) as shop, async_playwright() as playwright:
        running = asyncio.create_task(relay.run(wait=0))
        await relay.ready()
        assert relay.admin is not None
        writing = asyncio.create_task(shop.run())
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = await browser.new_page(viewport=_SIZE, color_scheme="light")
        await page.goto(f"{relay.admin.url}/app/")
        await asyncio.sleep(_SECONDS)
        await page.screenshot(path=_FOLDER / "console.png")
        await page.emulate_media(color_scheme="dark")
        await asyncio.sleep(1.5)
        await page.screenshot(path=_FOLDER / "console-dark.png")
        await browser.close()
        writing.cancel()
        relay.stop()
        await asyncio.wait({running, writing})


if __name__ == "__main__":
    asyncio.run(main())
    sys.exit(0)
