// Two documents side by side, with the lines marked that only one of them has.
import { html, useMemo } from "./html.js";
import { pretty } from "./format.js";
import { compare } from "./diff.js";

/** @param {{before: any, after: any, titles: [string, string]}} props */
export function Compare({ before, after, titles }) {
  const [left, right] = [pretty(before), pretty(after)];
  const lines = useMemo(() => compare(left, right), [left, right]);
  return html`<div class="compare">
    <${Side} title=${titles[0]} lines=${lines.left} kind="removed" />
    <${Side} title=${titles[1]} lines=${lines.right} kind="added" />
  </div>`;
}

const Side = ({ title, lines, kind }) => html`<figure><figcaption>${title}
    <span class="quiet">${lines.some((line) => line.differs) ? (kind === "added" ? "+ only here" : "− only here") : ""}</span></figcaption>
  <pre class="json" tabindex="0" role="region" aria-label=${title}><code>${lines.map(({ text, differs }) =>
    html`<span class=${differs ? kind : ""}>${differs ? (kind === "added" ? "+ " : "− ") : "  "}${text}</span>`)}</code></pre></figure>`;
