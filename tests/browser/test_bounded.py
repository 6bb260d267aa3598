"""A console that is open for a day needs no more memory than at its start."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Console, Visit

pytestmark = pytest.mark.asyncio(loop_scope="session")

_STATE = """async ([url, count]) => {
  const { Model } = await import(`${url}/app/state.js`);
  globalThis.model ??= new Model();
  const status = await (await fetch(`${url}/api/v1/status`)).json();
  const start = globalThis.at ?? Date.parse(status.time);
  for (let i = 1; i <= count; i++) {
    const time = new Date(start + i * 1000).toISOString();
    // Names come and go, as in a relay whose config is reloaded.
    const renamed = (each) => ({ ...each, done: each.done + i, name: `${each.name} ${i % 1000}` });
    const pipelines = status.pipelines.map(renamed);
    model.accept({ ...status, time, done: status.done + i * 10, pipelines });
  }
  globalThis.at = start + count * 1000;
  return [model.rates.size, model.counts.size, model.history.series()[0].length, model.rate()];
}"""
_CLOCK = """async (url) => {
  const { Model } = await import(`${url}/app/state.js`);
  const model = new Model();
  const status = await (await fetch(`${url}/api/v1/status`)).json();
  const found = [];
  let done = 0;
  for (const second of [0, 1, 2, -3600, -3599, -3598]) {
    done += 5;
    model.accept({ ...status, time: new Date(1.7e12 + second * 1000).toISOString(), done });
    if (second === 2 || second === -3600 || second === -3598) found.push(model.history.length);
  }
  return [...found, model.rate()];
}"""
_TAIL = """async ([url, count]) => {
  const { Recent } = await import(`${url}/app/recent.js`);
  const { Parser } = await import(`${url}/app/sse.js`);
  globalThis.recent ??= new Recent();
  const parser = new Parser((event) => recent.add(event));
  const body = "x".repeat(1000);
  const event = (i) => JSON.stringify({ id: `msg_${i}`, body: body + i });
  for (let i = 0; i < count; i++) parser.push(`event: change\\ndata: ${event(i)}\\n\\n`);
  return [recent.items.length, recent.seen, recent.items.at(-1).event.id];
}"""
_RENDERED = """async ([url, count]) => {
  const [{ Model }, { Picture }, { html, render }] = await Promise.all(
    ["state", "picture", "html"].map((name) => import(`${url}/app/${name}.js`)));
  globalThis.shown ??= { model: new Model(), root: document.body.appendChild(document.createElement("div")) };
  const { model, root } = globalThis.shown;
  const status = await (await fetch(`${url}/api/v1/status`)).json();
  for (let i = 1; i <= count; i++) {
    globalThis.at = (globalThis.at ?? Date.parse(status.time)) + 1000;
    const pipelines = status.pipelines.map((each) => ({ ...each, done: each.done + i * 50 }));
    model.accept({ ...status, time: new Date(globalThis.at).toISOString(), pipelines });
    render(html`<${Picture} app=${{ model, show() {}, refresh() {} }} query=${{}} />`, root);
    if (i % 20 === 0) await new Promise(requestAnimationFrame);
  }
  return root.querySelectorAll("*").length;
}"""


async def heap(visit: Visit) -> float:
    """MB in use after a garbage collection."""
    session = await visit.page.context.new_cdp_session(visit.page)
    await session.send("HeapProfiler.collectGarbage")
    used = (await session.send("Runtime.getHeapUsage"))["usedSize"] / 1e6
    await session.detach()
    return float(used)


async def test_100_000_updates_leave_no_trace(console: Console) -> None:
    """Rates of names that are gone, and history older than ten minutes, are dropped."""
    async with console("busy") as (visit, _):
        await visit.page.evaluate(_STATE, [visit.url, 5_000])
        before = await heap(visit)
        rates, counts, points, rate = await visit.page.evaluate(_STATE, [visit.url, 100_000])
        assert (counts, points) == (1 + 2 + 3 + 5, 600)
        assert rates <= counts
        assert rate == pytest.approx(10, rel=0.01)
        assert await heap(visit) < before + 1


async def test_a_clock_that_is_set_back_starts_the_history_again(console: Console) -> None:
    """Rather than drawing a line to the past, or none until the old time is reached."""
    async with console("busy") as (visit, _):
        assert await visit.page.evaluate(_CLOCK, visit.url) == [3, 0, 2, pytest.approx(5)]


async def test_100_000_events_of_the_tail_leave_the_last_500(console: Console) -> None:
    """Whatever their number."""
    async with console("busy") as (visit, _):
        await visit.page.evaluate(_TAIL, [visit.url, 2_000])
        before = await heap(visit)
        kept, seen, last = await visit.page.evaluate(_TAIL, [visit.url, 100_000])
        assert (kept, seen, last) == (500, 102_000, "msg_99999")
        assert await heap(visit) < before + 2


async def test_drawing_again_and_again_adds_nothing_to_the_page(console: Console) -> None:
    """The page has as many elements after hundreds of updates as after the first ones."""
    async with console("failing") as (visit, _):
        elements = await visit.page.evaluate(_RENDERED, [visit.url, 100])
        before = await heap(visit)
        assert await visit.page.evaluate(_RENDERED, [visit.url, 300]) == elements
        assert await heap(visit) < before + 2
