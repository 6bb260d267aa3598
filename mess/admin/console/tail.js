// The live tail: events as they finish, and one event's path.
import { html, useEffect, useMemo, useReducer, useRef, useState } from "./html.js";
import { address, parse } from "./api.js";
import { between, keyText, plain, plural, whole } from "./format.js";
import { go } from "./route.js";
import { listen } from "./sse.js";
import { Recent } from "./recent.js";
import { Guarded } from "./access.js";
import { Change } from "./change.js";
import { Place } from "./place.js";
import { Filters, Icon, Note, State } from "./ui.js";

const EVENT_ID = /^msg_\w+$/;
const REDRAW_MS = 250;
const TYPING = 500;
const NAMES = ["pipeline", "step", "namespace", "operation", "outcome", "id", "sample"];
const OUTCOMES = ["delivered", "dropped", "dead_letter", "skipped"];
const OPERATIONS = ["insert", "update", "replace", "delete", "read", "drop", "rename"];

export const Tail = ({ app, query }) => html`<${Guarded} status=${app.model.status} refresh=${app.refresh}>
  <${Live} app=${app} query=${query} /><//>`;

function Live({ app, query }) {
  const recent = useMemo(() => new Recent(), []);
  const [, redraw] = useReducer((n) => n + 1, 0);
  const [paused, setPaused] = useState(false);
  const [state, setState] = useState("connecting");
  const [error, setError] = useState(null);
  const [chosen, setChosen] = useState(null);
  const held = useRef(null);
  const url = address("events", Object.fromEntries([...NAMES.map((name) => [name, query[name]]), ["bodies", "true"]])).href;

  useEffect(() => {
    let timer = 0;
    let end = () => {};
    const draw = () => {
      timer = 0;
      redraw();
    };
    const begin = setTimeout(() => {
      recent.clear();
      end = listen(new URL(url), {
        onEvent: (event) => {
          recent.add(event, parse);
          timer ||= setTimeout(draw, REDRAW_MS);
        },
        onState: (now, problem) => {
          setState(now);
          setError(problem ?? null);
        },
      });
    }, TYPING);
    return () => {
      clearTimeout(begin);
      clearTimeout(timer);
      end();
    };
  }, [url]);

  const pause = () => {
    held.current = paused ? null : { items: recent.items.slice(), seen: recent.seen };
    setPaused(!paused);
  };
  const items = held.current?.items ?? recent.items;
  const rows = items.slice().reverse();
  const { status } = app.model;
  const fields = [
    { name: "pipeline", title: "Pipeline", options: status.pipelines.map((each) => each.name) },
    { name: "namespace", title: "Namespace", placeholder: "shop.*" },
    { name: "operation", title: "Operation", options: OPERATIONS },
    { name: "outcome", title: "Outcome", options: OUTCOMES },
    { name: "id", title: "Find an event", placeholder: "msg_…" },
    { name: "sample", title: "Sample", options: ["1", "0.1", "0.01", "0.001"] },
  ];
  return html`
    <div class="head"><h2>Live tail</h2>
      <div class="actions"><${Link} state=${state} paused=${paused} />
        <button class=${paused ? "" : "second"} aria-pressed=${paused} onClick=${pause}><${Icon} name=${paused ? "play" : "paused"} /> ${paused ? "Go on" : "Pause the list"}</button>
        <button class="second" onClick=${() => { recent.clear(); held.current = null; setPaused(false); setChosen(null); }}>Clear</button></div></div>
    <${Filters} label="Filter the live tail" fields=${fields} values=${query} onChange=${(values) => go("tail", values, true)} />
    ${EVENT_ID.test(query.id ?? "") ? html`<${Place} key=${query.id} id=${query.id} />` : null}
    <p class="quiet small-text">${plural(recent.seen, "event")} since this view was opened, ${whole(items.length)} kept.
      ${recent.lost ? html` <strong>${whole(recent.lost)} lost</strong>: sampled out, or faster than this page reads; all were processed.` : null}
      ${paused ? ` ${whole(recent.seen - held.current.seen)} new.` : null}</p>
    ${error && state === "refused" ? html`<${Note} tone="bad">${plain(error.message)}<//>` : null}
    <div class="split ${chosen ? "chosen" : ""}">
      <div class="list">${rows.length ? html`<ul class="rows events" aria-label="Events, newest first">${rows.map(({ event }) => html`
        <${Row} key=${`${event.id} ${event.time}`} event=${event} chosen=${chosen === event} onChoose=${setChosen} />`)}</ul>`
        : html`<p class="empty">No event has finished since. Write something to a watched collection.</p>`}</div>
      ${chosen ? html`<${Change} key=${`${chosen.id} ${chosen.time}`} event=${chosen} onClose=${() => setChosen(null)} />` : null}
    </div>`;
}

function Row({ event, chosen, onChoose }) {
  return html`<li><button class="row" aria-expanded=${chosen} onClick=${() => onChoose(chosen ? null : event)}>
    <time>${new Date(event.time).toLocaleTimeString("en-GB")}</time>
    <span class="first"><bdi>${plain(event.namespace)}</bdi> <b>${plain(event.operation)}</b> <bdi class="key">${keyText(event.key)}</bdi></span>
    <span class="quiet">${between(event.committed, event.time)}</span>
    <${State} is=${event.outcome} /></button></li>`;
}

const STATES = { connecting: ["wait", "Connecting"], live: ["ok", "Live"], lost: ["bad", "Connection lost, tries again"], refused: ["bad", "Refused"] };

function Link({ state, paused }) {
  const [kind, text] = paused ? ["paused", "List paused"] : STATES[state];
  return html`<span role="status" class="state ${kind}"><${Icon} name=${kind} />${text}</span>`;
}
