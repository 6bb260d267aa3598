// Dead letters: a list with filters that the address holds, and one letter beside it.
import { html, useEffect, useState } from "./html.js";
import { keyText, plain, since, time, whole } from "./format.js";
import { useAnswer } from "./poll.js";
import { go, link } from "./route.js";
import { Guarded } from "./access.js";
import { Letter } from "./letter.js";
import { LetterDialog, Replays } from "./letteractions.js";
import { Filters, Missing, Note } from "./ui.js";

const PAGE = 50;
const TYPING = 300;
const NAMES = ["pipeline", "step", "namespace", "reason", "since", "until"];

/** What the filters ask the API for. */
export function asked(query) {
  const found = Object.fromEntries(NAMES.filter((name) => query[name]).map((name) => [name, query[name]]));
  for (const name of ["since", "until"]) {
    const date = new Date(found[name] ?? "");
    if (name in found) found[name] = Number.isNaN(date.getTime()) ? undefined : date.toISOString();
  }
  return found;
}

export const Letters = ({ app, query }) => html`<${Guarded} status=${app.model.status} refresh=${app.refresh}>
  <${All} app=${app} query=${query} /><//>`;

function All({ app, query }) {
  const { status } = app.model;
  const { id, after, ...filters } = query;
  const settled = useSettled(JSON.stringify(asked(filters)));
  const [round, setRound] = useState(0);
  const { data, error, reload } = useAnswer("dead-letters", { query: { ...JSON.parse(settled), limit: PAGE, after }, seconds: 10 });
  useEffect(() => (round || status.dead_letters != null ? reload() : undefined), [status.dead_letters, round]);
  const pipelines = status.pipelines.map((each) => each.name);
  const steps = [...new Set(status.pipelines.filter((each) => !filters.pipeline || each.name === filters.pipeline).flatMap((each) => each.steps.map((step) => step.name)))];
  const fields = [
    { name: "pipeline", title: "Pipeline", options: pipelines },
    { name: "step", title: "Step", options: steps },
    { name: "namespace", title: "Namespace", placeholder: "shop.*" },
    { name: "reason", title: "Reason has", placeholder: "422" },
    { name: "since", title: "Since", type: "datetime-local" },
    { name: "until", title: "Until", type: "datetime-local" },
  ];
  const act = (verb, filter, label) => app.show((close) => html`<${LetterDialog} verb=${verb} filter=${filter} label=${label} app=${app}
    onClose=${close} onDone=${() => setRound(round + 1)} />`);
  const some = data?.total > 0;
  return html`
    <div class="head"><h2>Dead letters <span class="quiet">${data ? `${whole(data.total)} ${Object.keys(asked(filters)).length ? "match" : "stored"}` : ""}</span></h2>
      <div class="actions">
        <button disabled=${!some} onClick=${() => act("replay", asked(filters))}>Replay ${some ? whole(data.total) : ""} …</button>
        <button class="second" disabled=${!some} onClick=${() => act("discard", asked(filters))}>Discard ${some ? whole(data.total) : ""} …</button></div></div>
    <${Filters} label="Filter dead letters" fields=${fields} values=${filters} onChange=${(values) => go("letters", values, true)} />
    <${Replays} app=${app} round=${round} onProgress=${reload} />
    ${data ? html`<div class="split ${id ? "chosen" : ""}">
      <${List} data=${data} query=${query} now=${status.time} />
      ${id ? html`<${Letter} key=${id} id=${id} app=${app} act=${act} query=${query} />` : null}
    </div>` : html`<${Missing} error=${error} />`}
    ${data && error ? html`<${Note} tone="bad">${plain(error.message)}<//>` : null}`;
}

/** A value once it has not changed for a moment. */
function useSettled(value) {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), TYPING);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}

function List({ data, query, now }) {
  const { id, after, ...filters } = query;
  if (!data.letters.length)
    return html`<p class="empty">${Object.keys(filters).length ? "No dead letter is like this." : "No dead letters: every event was delivered, or still waits."}</p>`;
  return html`<div class="list"><ul class="rows" aria-label="Dead letters, newest first">${data.letters.map((letter) => html`<li key=${letter.id}>
      <a class="row" href=${link("letters", { ...query, id: letter.id })} aria-current=${letter.id === id ? "true" : null}>
        <span class="first"><bdi>${plain(letter.namespace)}</bdi> <b>${plain(letter.operation)}</b> <bdi class="key">${keyText(letter.key)}</bdi></span>
        <time title=${time(letter.time)}>${since(letter.time, now)} ago</time>
        <span class="reason"><bdi>${plain(letter.reason || letter.error)}</bdi></span>
        <span class="quiet"><bdi>${plain(letter.pipeline)}</bdi> › <bdi>${plain(letter.step)}</bdi></span>
      </a></li>`)}</ul>
    <nav class="pages" aria-label="Pages">${after ? html`<a href=${link("letters", filters)}>Newest</a>` : null}
      ${data.next ? html`<a href=${link("letters", { ...filters, after: data.next })}>Older</a>` : null}</nav></div>`;
}
