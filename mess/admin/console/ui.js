// Small parts that all views use.
import { html, useEffect, useRef, useState } from "./html.js";
import { plain, pretty } from "./format.js";

const ICONS = {
  ok: "M4 10.5 8 14.5 16 5.5",
  idle: "M5 10h10",
  wait: "M10 5v5l3.5 2M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15",
  bad: "M10 6v5M10 14v.01M10 2.5 18 17H2Z",
  paused: "M7 4v12M13 4v12",
  play: "M6 4l10 6-10 6Z",
  more: "M7 4l6 6-6 6",
  send: "M3 10h12M10.5 5 16 10l-5.5 5",
  close: "M5 5l10 10M15 5 5 15",
  database: "M4 5c0-2 12-2 12 0v10c0 2-12 2-12 0ZM4 5c0 2 12 2 12 0M4 10c0 2 12 2 12 0",
  theme: "M10 2.5a7.5 7.5 0 1 0 0 15ZM10 2.5a7.5 7.5 0 0 1 0 15",
  standby: "M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15M8 7v6M12 7v6",
  queue: "M3 5h14M3 10h14M3 15h14M6 3v4M11 8v4M8 13v4",
  key: "M12.5 3.5a4 4 0 1 1-3.4 6.1L3 15.7V17h3v-2h2v-2h1.5l.8-.8",
};

/** @param {{name: keyof typeof ICONS}} props */
export const Icon = ({ name }) => html`<svg class="icon" viewBox="0 0 20 20" aria-hidden="true"><path d=${ICONS[name]} /></svg>`;

const STATES = {
  reading: ["ok", "Reading"],
  flowing: ["ok", "Flowing"],
  up: ["ok", "Up"],
  done: ["ok", "Done"],
  delivered: ["ok", "Delivered"],
  passed: ["ok", "Passed"],
  would_send: ["ok", "Would send"],
  running: ["ok", "Running"],
  waiting: ["wait", "Waiting"],
  retrying: ["wait", "Retrying"],
  not_seen: ["idle", "Not seen"],
  blocked: ["bad", "Blocked"],
  disconnected: ["bad", "Disconnected"],
  stopped: ["bad", "Stopped"],
  down: ["bad", "Down"],
  failed: ["bad", "Failed"],
  dead_letter: ["bad", "Dead letter"],
  open: ["bad", "Open"],
  paused: ["paused", "Paused"],
  dropped: ["idle", "Dropped"],
  bypassed: ["idle", "Bypassed"],
  skipped: ["wait", "Skipped"],
  cancelled: ["idle", "Cancelled"],
  active: ["ok", "Active"],
  standby: ["standby", "Standby"],
};

/** The tone of a state: ok, wait, bad, paused or idle. @param {string} state */
export const tone = (state) => STATES[state]?.[0] ?? "idle";

/** A state, by icon, word and colour. */
export const State = ({ is, label }) =>
  html`<span class="state ${tone(is)}"><${Icon} name=${tone(is)} />${label ?? STATES[is]?.[1] ?? plain(is)}</span>`;

/** Something to notice. @param {{tone: string, title?: string}} props */
export const Note = ({ tone: kind, children, title }) =>
  html`<div class="note ${kind}"><${Icon} name=${kind} /><div>${title ? html`<strong>${title}</strong> ` : null}${children}</div></div>`;

/** What a view says instead of its content: an error, or that the content is on its way. */
export const Missing = ({ error }) =>
  error ? html`<${Note} tone="bad">${plain(error.message)}<//>` : html`<p class="quiet">Loading …</p>`;

/** A document as indented JSON. */
export const Json = ({ value, label }) =>
  html`<pre class="json" tabindex="0" role="region" aria-label=${label}><code>${pretty(value)}</code></pre>`;

/** A short line in which something moves, at one of four speeds. @param {{rate: number | null, kind?: string}} props per second */
export const Pipe = ({ rate, kind = "" }) => (rate >= 0.05 ? html`<span class="pipe ${kind} ${flowClass(rate)}"></span>` : null);

/** @param {number} perSecond */
export const flowClass = (perSecond) => `flow-${Math.min(4, 1 + Math.floor(Math.log10(Math.max(1, perSecond))))}`;

/** A labelled value. */
export const Fact = ({ label, children, title }) => html`<div class="fact" title=${title}><dt>${label}</dt><dd>${children}</dd></div>`;

/** How much of something is used or done. @param {{value: number, max: number, label: string, kind?: string}} props */
export function Bar({ value, max, label, kind = "ok" }) {
  const part = max > 0 ? Math.min(1, value / max) : 0;
  const ref = useRef(null);
  useEffect(() => ref.current.style.setProperty("--part", String(part)));
  return html`<div class="meter ${kind}" ref=${ref} role="progressbar" aria-label=${label} aria-valuemin="0" aria-valuemax="100"
    aria-valuenow=${Math.round(part * 100)}></div>`;
}

/** A modal dialog: keeps the focus inside, closes with Escape, and gives the focus back. */
export function Dialog({ title, onClose, children }) {
  const ref = useRef(null);
  useEffect(() => {
    const back = document.activeElement;
    ref.current.showModal();
    return () => back?.isConnected && back.focus();
  }, []);
  return html`<dialog ref=${ref} aria-labelledby="dialog-title" onClose=${onClose}>
    <header><h2 id="dialog-title">${title}</h2>
      <button class="plain" aria-label="Close" onClick=${() => ref.current.close()}><${Icon} name="close" /></button></header>
    ${children}
  </dialog>`;
}

/** Runs an action once at a time. @returns {[(...given: any[]) => Promise<void>, boolean, string]} run, busy, error */
export function useAction(action) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState("");
  const run = async (...given) => {
    if (busy) return;
    setBusy(true);
    setError("");
    try {
      await action(...given);
    } catch (problem) {
      setError(plain(problem.message));
    }
    setBusy(false);
  };
  return [run, busy, error];
}

/** Filters as fields; `onChange` gets all of them. @param {{fields: any[], values: Record<string, string>}} props */
export function Filters({ fields, values, onChange, label, children }) {
  const change = (name) => (event) => onChange({ ...values, [name]: event.target.value });
  return html`<form class="filters" role="search" aria-label=${label} onSubmit=${(event) => event.preventDefault()}>
    ${fields.map(({ name, title, options, ...rest }) => html`<label key=${name}><span>${title}</span>
      ${options
        ? html`<select value=${values[name] ?? ""} onChange=${change(name)}>
            <option value="">all</option>
            ${[...new Set([...options, ...(values[name] ? [values[name]] : [])])].map((each) => html`<option key=${each} value=${each}>${plain(each)}</option>`)}
          </select>`
        : html`<input type="search" value=${values[name] ?? ""} onInput=${change(name)} autocomplete="off" spellcheck="false" ...${rest} />`}
    </label>`)}
    ${children}
  </form>`;
}
