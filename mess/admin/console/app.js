// The page: its header, what the relay says about itself, and one view.
import { html, render, useEffect, useReducer, useRef, useState } from "./html.js";
import { duration, plain, time, whole } from "./format.js";
import { follow } from "./poll.js";
import { Model } from "./state.js";
import { link, useRoute } from "./route.js";
import { TokenForm } from "./access.js";
import { Standby, standsBy } from "./standby.js";
import { Dialog, Icon, Note, State } from "./ui.js";
import { Picture } from "./picture.js";

const VIEWS = {
  "": ["Flow", async () => Picture],
  letters: ["Dead letters", async () => (await import("./letters.js")).Letters, (status) => status.dead_letters],
  tail: ["Live tail", async () => (await import("./tail.js")).Tail],
  progress: ["Backfills and gaps", async () => (await import("./progress.js")).Progress, (status) => status.backfills + status.gaps],
  try: ["Try an event", async () => (await import("./try.js")).Try],
  config: ["Config", async () => (await import("./config.js")).Config],
};
const LOADED = { "": Picture };
const NEED_ACTIVE = ["", "tail", "try"];
const THEMES = ["", "light", "dark"];

const model = new Model();
const refresh = follow(model);

function App() {
  const [, changed] = useReducer((n) => n + 1, 0);
  const [dialog, setDialog] = useState(null);
  const [said, setSaid] = useState("");
  const { view, query } = useRoute();
  useEffect(() => model.listen(changed), []);
  useEffect(() => {
    if (!said) return undefined;
    const timer = setTimeout(() => setSaid(""), 6000);
    return () => clearTimeout(timer);
  }, [said]);
  const app = { model, refresh, say: setSaid, show: (make) => setDialog(() => () => make(() => setDialog(null))) };
  const shown = view in VIEWS ? view : "";
  const [name] = VIEWS[shown];
  const status = model.status;
  useEffect(() => {
    document.title = `${status && !status.ready ? "! " : ""}${name} · ${status ? plain(status.name) : "MESS"}`;
  }, [name, status?.name, status?.ready]);
  return html`
    <a class="skip" href="#main" onClick=${skip}>Skip to the content</a>
    <${Header} status=${status} view=${shown} app=${app} />
    <${Link} lost=${model.lost} />
    <main id="main" tabindex="-1" class=${model.lost ? "stale" : ""}>
      <h1 class="hidden">${name}</h1>
      ${status
        ? html`${shown ? null : html`<${Problems} status=${status} />`}${standsBy(status) && NEED_ACTIVE.includes(shown)
          ? html`<${Standby} status=${status} />`
          : html`<${View} key=${shown} name=${shown} app=${app} query=${query} />`}`
        : html`<p class="quiet">Asks the relay for its state …</p>`}
    </main>
    <p class=${said ? "toast" : "hidden"} role="status">${said}</p>
    ${dialog ? dialog() : null}`;
}

let styles;

/** The style sheet of all views but the first. */
function styled() {
  styles ??= new Promise((resolve, reject) => {
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: "views.css", onload: resolve });
    link.onerror = () => {
      link.remove();
      styles = undefined;
      reject(new Error("views.css did not load"));
    };
    document.head.append(link);
  });
  return styles;
}

/** A view; its files are loaded when it is first opened. */
function View({ name, app, query }) {
  const [error, setError] = useState(null);
  const [, loaded] = useReducer((n) => n + 1, 0);
  useEffect(() => {
    if (LOADED[name]) return;
    Promise.all([VIEWS[name][1](), styled()]).then(([view]) => {
      LOADED[name] = view;
      loaded();
    }, setError);
  }, []);
  const Loaded = LOADED[name];
  if (Loaded) return html`<${Loaded} app=${app} query=${query} />`;
  return error ? html`<${Note} tone="bad">This view did not load, since the relay does not answer. Reload the page when it does.<//>` : html`<p class="quiet">Loading …</p>`;
}

function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

function Header({ status, view, app }) {
  const nav = useRef(null);
  useEffect(() => nav.current.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" }), [view]);
  return html`<header class="bar">
    <span class="brand"><img src="icon.svg" alt="" width="22" height="22" /> <bdi title=${status ? plain(status.name) : ""}>${status ? plain(status.name) : "MESS"}</bdi></span>
    <nav aria-label="Views" ref=${nav}><ul>${Object.entries(VIEWS).map(([path, [name, , count]]) => html`<li key=${path}>
      <a href=${link(path)} aria-current=${path === view ? "page" : null}>${name}${status && count?.(status)
        ? html` <span class="count">${whole(count(status))}</span>` : null}</a></li>`)}</ul></nav>
    ${status ? html`<${About} status=${status} app=${app} />` : null}
  </header>`;
}

function About({ status, app }) {
  const [theme, setTheme] = useState(document.documentElement.dataset.theme ?? "");
  const next = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
  const { host, pid } = status.instance;
  const ask = () => app.show((close) => html`<${Access} app=${app} onClose=${close} />`);
  return html`<div class="about">
    <span role="status">${silent(app.model.lost)
      ? html`<${State} is="not_seen" label="No answer" />`
      : html`<${Role} role=${status.role} /><${State} is=${status.ready ? "up" : "down"} label=${status.ready ? "Ready" : "Not ready"} />`}</span>
    <span class="quiet wide" title=${plain(`instance ${status.instance.id}`)}>${plain(host)}:${pid} · v${plain(status.version)} · up ${duration(status.uptime_seconds)}</span>
    ${status.access.changes ? null : html`<button class="plain" onClick=${ask}><${Icon} name="key" /> Token</button>`}
    <button class="plain" aria-label=${`Colours: ${theme || "as the system"}. Change to ${next || "the system's"}.`}
      title="Light, dark, or as the system" onClick=${() => setTheme(applied(next))}><${Icon} name="theme" /></button>
  </div>`;
}

/** Which of several processes this is. */
const Role = ({ role }) => (role
  ? html`<span title=${`since ${time(role.since)}${role.epoch ? `, epoch ${role.epoch}` : ""}`}><${State} is=${role.name} /></span> `
  : null);

/** @param {string} theme */
function applied(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  try {
    localStorage.setItem("mess-theme", theme);
  } catch {
    // Without storage, the choice lasts until the page is left.
  }
  dispatchEvent(new Event("mess-theme"));
  return theme;
}

function Access({ app, onClose }) {
  const { access } = app.model.status;
  useEffect(() => (access.changes ? onClose() : undefined), [access.changes]);
  return html`<${Dialog} title="Access" onClose=${onClose}><${TokenForm} why=${access.why ?? ""} refresh=${app.refresh} /><//>`;
}

/** Whether the relay does not answer. One failure may be chance. */
const silent = (lost) => Boolean(lost && lost.failures > 1);

/** Says that the relay does not answer, and when it is asked again. */
function Link({ lost }) {
  const [, tick] = useReducer((n) => n + 1, 0);
  const shown = silent(lost);
  useEffect(() => {
    if (!shown) return undefined;
    const timer = setInterval(tick, 1000);
    return () => clearInterval(timer);
  }, [shown]);
  const seconds = shown ? Math.max(0, Math.round((lost.retry - Date.now()) / 1000)) : 0;
  return html`<div role="alert" class=${shown ? "lost" : ""}>${shown
    ? html`<span><${Icon} name="bad" /> <strong>Connection lost</strong> since ${new Date(lost.since).toLocaleTimeString("en-GB")}: ${plain(lost.reason)}. What you see is from then.</span>
      <span aria-live="off"><span class="next">${seconds ? `Next try in ${seconds} s` : "Trying …"}</span> <button class="small" onClick=${refresh}>Try now</button></span>`
    : null}</div>`;
}

function Problems({ status }) {
  const waits = [...status.streams, ...status.pipelines].flatMap(({ wait, problem }) => [wait?.text, problem]).filter(Boolean);
  const shown = (text) => waits.some((wait) => text.includes(wait));
  const warnings = status.warnings.filter((text) => !shown(text));
  const problems = status.problems.filter((text) => !shown(text));
  if (!problems.length && !warnings.length) return null;
  return html`<section class="problems" aria-label="Problems">
    ${problems.map((text) => html`<${Note} key=${text} tone="bad" title="Not ready:">${plain(text)}<//>`)}
    ${warnings.map((text) => html`<${Note} key=${text} tone="wait">${plain(text)}<//>`)}
  </section>`;
}

const root = document.getElementById("app");
root.replaceChildren();
render(html`<${App} />`, root);
