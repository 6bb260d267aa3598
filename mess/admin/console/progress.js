// Backfills, gaps and checkpoints.
import { html } from "./html.js";
import { post } from "./api.js";
import { duration, plain, plural, rate, since, time, whole } from "./format.js";
import { useAnswer } from "./poll.js";
import { Guarded, GuardedDialog } from "./access.js";
import { Bar, Missing, Note, State, useAction } from "./ui.js";

const WISHES = {
  running: [["paused", "Pause"], ["cancelled", "Cancel"]],
  waiting: [["paused", "Pause"], ["cancelled", "Cancel"]],
  paused: [["running", "Resume"], ["cancelled", "Cancel"]],
};

export function Progress({ app }) {
  return html`<${Backfills} app=${app} /><${Gaps} app=${app} /><${Checkpoints} />`;
}

function Backfills({ app }) {
  const { data, error, reload } = useAnswer("backfills", { query: { all: true }, seconds: 1 });
  const ask = (backfill, wanted, verb) => app.show((close) => html`<${WishDialog} backfill=${backfill} wanted=${wanted} verb=${verb} app=${app} reload=${reload} onClose=${close} />`);
  const now = app.model.status.time;
  return html`<section class="panel" aria-labelledby="backfills"><h2 id="backfills">Backfills</h2>
    ${data ? html`${data.backfills.length ? html`<${Table} label="Backfills" head=${["Collection", "State", "Progress", "Since", "Origin", ""]}>
      ${data.backfills.map((each) => html`<tr key=${each.id}>
        <td><bdi>${plain(each.namespace)}</bdi>${each.step ? html`<br /><span class="quiet">from ${plain(each.pipeline)} › ${plain(each.step)}</span>` : null}</td>
        <td><${State} is=${each.state} />${each.reason ? html`<p class="quiet small-text">${plain(each.reason)}</p>` : null}</td>
        <td><${Amount} backfill=${each} /></td>
        <td>${each.started ? since(each.started, each.ended ?? now) : "–"}</td>
        <td>${plain(each.origin)}</td>
        <td><div class="actions">${(WISHES[each.state] ?? []).map(([wanted, verb]) => html`<button key=${wanted} class="small second"
          aria-label=${`${verb} the backfill of ${plain(each.namespace)}`} onClick=${() => ask(each, wanted, verb)}>${verb}</button>`)}</div></td></tr>`)}<//>`
      : html`<p class="quiet">None was asked for.</p>`}` : html`<${Missing} error=${error} />`}
    ${data && error ? html`<${Note} tone="bad">${plain(error.message)}<//>` : null}</section>`;
}

function Amount({ backfill }) {
  const { documents, estimated } = backfill;
  const left = backfill.rate > 0 && estimated > documents ? (estimated - documents) / backfill.rate : null;
  return html`<span>${whole(documents)}${estimated == null ? "" : ` of about ${whole(Math.max(estimated, documents))}`}</span>
    ${backfill.rate ? html` <span class="quiet">${rate(backfill.rate)}${left == null ? "" : `, about ${duration(left)} left`}</span>` : null}
    ${estimated ? html`<${Bar} value=${documents} max=${estimated} label=${`Backfill of ${plain(backfill.namespace)}`} kind=${backfill.state === "failed" ? "bad" : "ok"} />` : null}`;
}

function WishDialog({ backfill, wanted, verb, app, reload, onClose }) {
  const [run, busy, error] = useAction(async () => {
    await post(`backfills/${encodeURIComponent(backfill.id)}`, { wanted });
    app.say(`${verb}: backfill of ${plain(backfill.namespace)}`);
    reload();
    onClose();
  });
  const submit = (event) => {
    event.preventDefault();
    run();
  };
  return html`<${GuardedDialog} title=${`${verb} the backfill of ${plain(backfill.namespace)}?`} status=${app.model.status} refresh=${app.refresh} onClose=${onClose}>
    <form onSubmit=${submit}>
      <p>${wanted === "cancelled" ? "A cancelled backfill does not continue; ask for a new one instead." : "It continues where it was."}</p>
      ${error ? html`<p class="error" role="alert">${error}</p>` : null}
      <footer><button type="button" class="second" onClick=${onClose}>Close</button>
        <button type="submit" class=${wanted === "cancelled" ? "danger" : ""} disabled=${busy}>${verb} the backfill</button></footer>
    </form><//>`;
}

function Gaps({ app }) {
  const { data, error } = useAnswer("gaps", { seconds: 5, when: app.model.status.access.changes });
  return html`<section class="panel" aria-labelledby="gaps"><h2 id="gaps">Gaps</h2><${Guarded} status=${app.model.status} refresh=${app.refresh}>
    ${data ? data.gaps.length ? html`<p class="quiet">Changes that were not delivered.</p><${Table} label="Gaps" head=${["What", "Where", "From", "To", "Changes", "Reason"]}>
      ${data.gaps.map((gap) => html`<tr key=${gap.id}><td>${plain(gap.kind.replace("_", " "))}${gap.open ? html`<br /><${State} is="open" label="Stream waits for a decision" />` : null}</td>
        <td><bdi>${plain(gap.namespaces.join(", ") || gap.stream)}</bdi>${gap.step ? html`<br /><span class="quiet">${plain(gap.pipeline)} › ${plain(gap.step)}</span>` : null}</td>
        <td>${time(gap.since)}</td><td>${time(gap.until)}</td><td>${whole(gap.count)}</td><td>${plain(gap.reason)}</td></tr>`)}<//>`
      : html`<p class="quiet">None: every change was delivered, dropped by a step, or is a dead letter.</p>` : html`<${Missing} error=${error} />`}<//></section>`;
}

function Checkpoints() {
  const { data, error } = useAnswer("checkpoints", { seconds: 2 });
  return html`<section class="panel" aria-labelledby="checkpoints"><h2 id="checkpoints">Checkpoints</h2>
    ${data ? data.checkpoints.length ? html`<${Table} label="Checkpoints" head=${["Stream", "Position", "Stored", "Behind MongoDB"]}>
      ${data.checkpoints.map((each) => html`<tr key=${each.stream}><td><bdi>${plain(each.stream)}</bdi></td><td>${time(each.time)}</td>
        <td>${time(each.updated)}</td><td>${duration(each.behind_seconds)}</td></tr>`)}<//>`
      : html`<p class="quiet">${plural(0, "position")} stored so far.</p>` : html`<${Missing} error=${error} />`}</section>`;
}

const Table = ({ label, head, children }) => html`<div class="scroll" tabindex="0" role="region" aria-label=${label}>
  <table><thead><tr>${head.map((name) => html`<th key=${name} scope="col">${name || html`<span class="hidden">Actions</span>`}</th>`)}</tr></thead><tbody>${children}</tbody></table></div>`;
