// Lines between the nodes of the picture. They move if something flows, unless the reader wants less motion.
import { html, useLayoutEffect, useRef, useState } from "./html.js";
import { flowClass } from "./ui.js";

const FRAME_MS = 66;

/** @param {{map: {current: HTMLElement | null}, links: {from: string, to: string, rate: number, kind: string}[], still: boolean}} props still if there are many lines: long ones are costly to move */
export function Edges({ map, links, still }) {
  const [places, setPlaces] = useState({});
  const [, setSize] = useState("");
  const known = useRef("");
  useLayoutEffect(() => {
    const found = measured(map.current);
    const text = JSON.stringify(found);
    if (text !== known.current) {
      known.current = text;
      setPlaces(found);
    }
  });
  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setSize(`${entry.contentRect.width}x${entry.contentRect.height}`));
    observer.observe(map.current);
    return () => observer.disconnect();
  }, []);
  const svg = useRef(null);
  useLayoutEffect(() => {
    if (still || matchMedia("(prefers-reduced-motion: reduce)").matches) return undefined;
    // Browsers paint a line that moves 60 times a second, which costs a tenth of a processor. A quarter of it will do.
    const timer = setInterval(() => {
      // After a second, each speed has moved its dashes by whole periods.
      const phase = String((performance.now() / 1000) % 1);
      if (!document.hidden) for (const line of svg.current.querySelectorAll(".moving")) line.style.setProperty("--phase", phase);
    }, FRAME_MS);
    return () => clearInterval(timer);
  }, [still]);
  const drawn = links.filter(({ from, to }) => places[from] && places[to]);
  return html`<svg class="edges" aria-hidden="true" ref=${svg}>${drawn.map(({ from, to, rate, kind }) => {
    const path = curve(places[from], places[to]);
    const thin = still && from !== "source";
    const width = thin ? 1 : 1.5 + Math.min(3, Math.log10(1 + rate));
    return html`<g key=${`${from} ${to}`} class=${kind}><path d=${path} stroke-width=${width} class="edge" />
      ${rate >= 0.05 && !still ? html`<path d=${path} stroke-width=${width + 0.5} class="moving ${flowClass(rate)}" />` : null}</g>`;
  })}</svg>`;
}

/** Where the nodes are: left, right, and the height at which lines end. */
function measured(map) {
  const zero = map.getBoundingClientRect();
  const found = {};
  for (const node of map.querySelectorAll("[data-node]")) {
    const box = node.getBoundingClientRect();
    const y = node.dataset.node.startsWith("pipeline\n") ? Math.min(box.height / 2, 22) : box.height / 2;
    found[node.dataset.node] = [box.left - zero.left, box.right - zero.left, box.top - zero.top + y].map(Math.round);
  }
  return found;
}

function curve([, x1, y1], [x2, , y2]) {
  const middle = (x1 + x2) / 2;
  return `M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`;
}
