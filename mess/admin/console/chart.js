// Throughput and lag over the last ten minutes.
import { html, useEffect, useLayoutEffect, useRef } from "./html.js";
import { duration, rate } from "./format.js";

const HEIGHT = 132;
const SHORTEST = 30;
const LONGEST = 600;

/** A colour of the style sheet, resolved for the theme. */
function color(name) {
  const probe = document.querySelector(".chart");
  if (!probe) return "gray";
  probe.style.color = `var(${name})`;
  const { color: found } = getComputedStyle(probe);
  probe.style.color = "";
  return found;
}

function options(width) {
  const axis = { stroke: () => color("--ink-quiet"), grid: { stroke: () => color("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  return {
    width,
    height: HEIGHT,
    cursor: { y: false, drag: { x: false, y: false } },
    legend: { show: false },
    scales: {
      x: { time: true, range: (_, low, high) => [Math.max(high - LONGEST, Math.min(low, high - SHORTEST)), high] },
      rate: { range: (_, low, high) => [0, Math.max(1, high * 1.15 || 1)] },
      lag: { range: (_, low, high) => [0, Math.max(1, high * 1.15 || 1)] },
    },
    axes: [
      { ...axis, grid: { show: false }, size: 26, space: 90, values: (_, ticks) => ticks.map((t) => new Date(t * 1000).toLocaleTimeString("en-GB")) },
      { ...axis, scale: "rate", size: 56, space: 24, values: (_, ticks) => ticks.map((t) => (t ? rate(t) : "0")) },
      { ...axis, scale: "lag", side: 1, size: 56, space: 24, grid: { show: false }, values: (_, ticks) => ticks.map((t) => (t ? duration(t) : "0")) },
    ],
    series: [
      {},
      { scale: "rate", stroke: () => color("--flow"), fill: () => color("--flow-area"), width: 2, points: { show: false } },
      { scale: "lag", stroke: () => color("--lag"), width: 1.5, dash: [5, 3], points: { show: false } },
    ],
  };
}

export function Chart({ model }) {
  const node = useRef(null);
  const plot = useRef(null);
  useLayoutEffect(() => {
    if (!globalThis.uPlot) return undefined; // its file did not arrive
    const box = node.current;
    plot.current = new globalThis.uPlot(options(box.clientWidth), model.history.series(), box);
    const redraw = () => plot.current.redraw(false);
    const observer = new ResizeObserver(() => plot.current.setSize({ width: box.clientWidth, height: HEIGHT }));
    const dark = matchMedia("(prefers-color-scheme: dark)");
    observer.observe(box);
    dark.addEventListener("change", redraw);
    addEventListener("mess-theme", redraw);
    return () => {
      observer.disconnect();
      dark.removeEventListener("change", redraw);
      removeEventListener("mess-theme", redraw);
      plot.current.destroy();
    };
  }, []);
  useEffect(() => plot.current?.setData(model.history.series()), [model.status.time]);
  const lags = model.status.streams.map((stream) => stream.lag_seconds ?? 0);
  const now = `now ${rate(model.rate())}, lag ${duration(Math.max(0, ...lags))}`;
  return html`<figure class="chart"><figcaption><span class="legend">Throughput</span><span class="legend lag">Lag</span>
    <span class="quiet">up to 10 minutes, while this page is open</span></figcaption>
    <div ref=${node} role="img" aria-label=${`Throughput and lag: ${now}`}></div></figure>`;
}
