// Replay and discard dead letters: first the count, then the confirmation of that number.
import { html, useEffect, useRef, useState } from "./html.js";
import { post } from "./api.js";
import { plain, plural, time, whole } from "./format.js";
import { useAnswer } from "./poll.js";
import { GuardedDialog } from "./access.js";
import { Bar, Note, State, useAction } from "./ui.js";

const SHOWN = 3;
const RECENT_MS = 120_000;

/** The API's form of filters: ids as a list. */
function body(filter) {
  const { ids, ...rest } = filter;
  const wanted = ids ? { ...rest, ids: [].concat(ids) } : rest;
  return { filter: wanted, all: Object.keys(wanted).length === 0 };
}

/** @param {{verb: "replay" | "discard", filter: object, label?: string, app: any, onClose: () => void, onDone: () => void}} props */
export function LetterDialog({ verb, filter, label, app, onClose, onDone }) {
  const title = `${verb === "replay" ? "Replay" : "Discard"} ${label ?? "dead letters"}?`;
  return html`<${GuardedDialog} title=${title} status=${app.model.status} refresh=${app.refresh} onClose=${onClose}>
    <${Confirm} verb=${verb} filter=${filter} app=${app} onClose=${onClose} onDone=${onDone} /><//>`;
}

function Confirm({ verb, filter, app, onClose, onDone }) {
  const [count, setCount] = useState(null);
  const [look, , problem] = useAction(async () => setCount(await post(`dead-letters/${verb}`, { ...body(filter), dry_run: true })));
  const [act, busy, error] = useAction(async () => {
    const result = await post(`dead-letters/${verb}`, { ...body(filter), expected: count.matching });
    app.say(verb === "replay" ? `Replay of ${plural(result.matching, "dead letter")} has begun` : `Discarded ${plural(result.done, "dead letter")}`);
    app.refresh();
    onDone();
    onClose();
  });
  useEffect(() => {
    look();
  }, []);
  const submit = (event) => {
    event.preventDefault();
    act();
  };
  const word = verb === "replay" ? "Replay" : "Discard";
  const given = Object.entries(filter).filter(([name]) => name !== "ids");
  return html`<form onSubmit=${submit}>
    ${given.length ? html`<p class="quiet">Those with ${given.map(([name, value], i) => html`${i ? ", " : ""}${name} <b>${plain(value)}</b>`)}.</p>` : null}
    ${count ? html`<p><strong>${plural(count.matching, "dead letter")}</strong> ${count.matching === 1 ? "matches" : "match"} now.
        ${verb === "replay" ? " Each continues at the step that refused it, in the pipeline as it is now, under its old id." : " They are removed for good."}</p>
      <ul class="counts">${Object.entries(count.by_pipeline).map(([name, number]) => html`<li key=${name}><bdi>${plain(name)}</bdi> <b>${whole(number)}</b></li>`)}</ul>`
      : problem ? null : html`<p class="quiet">Counting …</p>`}
    ${problem || error ? html`<p class="error" role="alert">${error || problem}
      ${error ? html` <button type="button" class="small second" onClick=${look}>Count again</button>` : null}</p>` : null}
    <footer><button type="button" class="second" onClick=${onClose}>Cancel</button>
      <button type="submit" class=${verb === "discard" ? "danger" : ""} disabled=${busy || !count?.matching}>${word} ${count ? whole(count.matching) : ""}</button></footer>
  </form>`;
}

/** The progress of replays that run, or have just ended. */
export function Replays({ app, round, onProgress }) {
  const { data, reload } = useAnswer("replays", { seconds: 1 });
  useEffect(() => (round ? reload() : undefined), [round]);
  const now = Date.parse(app.model.status.time);
  const recent = (data?.replays ?? []).filter((each) => !each.ended || now - Date.parse(each.ended) < RECENT_MS);
  const progress = recent.map((each) => `${each.id} ${each.state}`).join();
  const before = useRef(progress);
  useEffect(() => {
    if (before.current !== progress) onProgress();
    before.current = progress;
  }, [progress]);
  if (!recent.length) return null;
  return html`<section class="panel" aria-label="Replays">${recent.slice(0, SHOWN).map((each) => html`<div class="replay" key=${each.id}>
    <span><${State} is=${each.state} /> Replay of ${plural(each.total, "dead letter")}, ${time(each.started)}</span>
    <${Bar} value=${each.handled} max=${each.total} label="Replay" kind=${each.kept ? "wait" : "ok"} />
    <span class="quiet">${whole(each.delivered)} delivered, ${whole(each.kept)} stay, ${whole(each.total - each.handled)} to go</span>
    ${Object.entries(each.reasons).map(([reason, number]) => html`<${Note} key=${reason} tone="wait">${whole(number)} stay: ${plain(reason)}<//>`)}
  </div>`)}</section>`;
}
