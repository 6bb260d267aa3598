// One dead letter: why it was given up on, what MongoDB sent, and what the step was given.
import { html, useEffect, useRef } from "./html.js";
import { keyText, plain, size, time } from "./format.js";
import { useAnswer } from "./poll.js";
import { go, link } from "./route.js";
import { Compare } from "./compare.js";
import { take } from "./try.js";
import { Fact, Icon, Missing, Note } from "./ui.js";

export function Letter({ id, app, act, query }) {
  const { data, error } = useAnswer(`dead-letters/${encodeURIComponent(id)}`);
  const { id: _, ...list } = query;
  const ref = useRef(null);
  useEffect(() => ref.current.focus({ preventScroll: true }), []);
  return html`<article class="panel letter" ref=${ref} tabindex="-1" aria-label="Dead letter">
    <div class="head"><h3><code>${plain(id)}</code></h3>
      <a class="button plain" href=${link("letters", list)}><${Icon} name="close" /> Close</a></div>
    ${data ? html`<${Whole} letter=${data} app=${app} act=${act} />` : html`<${Missing} error=${error} />`}
  </article>`;
}

function Whole({ letter, app, act }) {
  const only = { ids: [letter.id] };
  const attempt = () => {
    take({ event: letter.event, pipeline: letter.pipeline });
    go("try");
  };
  return html`
    <${Note} tone="bad" title=${plain(letter.reason)}>${letter.error === letter.reason ? null : plain(letter.error)}<//>
    <dl class="facts">
      <${Fact} label="Pipeline">${plain(letter.pipeline)} › ${plain(letter.step)}<//>
      <${Fact} label="Change">${plain(letter.operation)} in ${plain(letter.namespace)}<//>
      <${Fact} label="Key">${keyText(letter.key)}<//>
      <${Fact} label="Given up">${time(letter.time)}<//>
      <${Fact} label="Attempts">${letter.attempts}<//>
      <${Fact} label="Size">${size(letter.size)}<//>
      ${letter.backfill ? html`<${Fact} label="Backfill">${plain(letter.backfill)}<//>` : null}
    </dl>
    <div class="actions">
      <button onClick=${() => act("replay", only, "this dead letter")}>Replay this one …</button>
      <button class="second" onClick=${() => act("discard", only, "this dead letter")}>Discard …</button>
      ${letter.event == null ? null : html`<button class="second" onClick=${attempt}>Try without sending</button>`}
    </div>
    <h4>Attempts</h4>
    <${History} history=${letter.history} />
    ${letter.event == null && letter.body == null
      ? html`<${Note} tone="paused">${app.model.status.access.payloads ? "Too large to be shown here: mess dead-letters export writes it to a file." : "Documents are hidden by the config: admin: {payloads: off}."}<//>`
      : html`<${Compare} before=${letter.event} after=${letter.body} titles=${["The change, as MongoDB sent it", `What ${plain(letter.step)} was given`]} />`}`;
}

const History = ({ history }) => history.length
  ? html`<div class="scroll" tabindex="0" role="region" aria-label="Attempts"><table><thead><tr><th>Time</th><th>Status</th><th>Error</th><th>Response</th></tr></thead>
      <tbody>${history.map((each, i) => html`<tr key=${i}><td>${time(each.time)}</td><td>${each.status ?? "–"}</td>
        <td>${plain(each.reason || each.error)}</td><td>${each.response == null ? "–" : html`<code>${plain(each.response)}</code>`}</td></tr>`)}</tbody></table></div>`
  : html`<p class="quiet">The relay kept no record of single attempts.</p>`;
