// One event's path: what each step made of it, and when.
import { html, useEffect, useRef } from "./html.js";
import { between, duration, keyText, plain, pretty, time } from "./format.js";
import { go, link } from "./route.js";
import { Compare } from "./compare.js";
import { take } from "./try.js";
import { Fact, Icon, Json, Note, State } from "./ui.js";

export function Change({ event, onClose }) {
  const ref = useRef(null);
  useEffect(() => ref.current.focus({ preventScroll: true }), []);
  const attempt = () => {
    take({ event: event.change, pipeline: event.pipeline });
    go("try");
  };
  let before = event.change;
  return html`<article class="panel letter" ref=${ref} tabindex="-1" aria-label="Event">
    <div class="head"><h3><code>${plain(event.id)}</code></h3>
      <button class="plain" onClick=${onClose}><${Icon} name="close" /> Close</button></div>
    <dl class="facts">
      <${Fact} label="Change">${plain(event.operation)} in ${plain(event.namespace)}<//>
      ${event.key === undefined ? null : html`<${Fact} label="Key">${keyText(event.key)}<//>`}
      <${Fact} label="Stream">${plain(event.stream)}<//>
      <${Fact} label="Pipeline">${plain(event.pipeline)}<//>
      <${Fact} label="Committed">${time(event.committed)}<//>
      <${Fact} label="Finished">${time(event.time)}<//>
      <${Fact} label="Attempts">${event.attempts}<//>
      ${event.replay ? html`<${Fact} label="Replay">yes<//>` : null}
      ${event.backfill ? html`<${Fact} label="Backfill">${plain(event.backfill)}<//>` : null}
    </dl>
    <div class="actions">
      ${event.change && !event.change_cut ? html`<button class="second" onClick=${attempt}>Try without sending</button>` : null}
      ${event.outcome === "dead_letter" ? html`<a href=${link("letters", { id: event.id })}>Its dead letter</a>` : null}
    </div>
    <ol class="path">
      <li><div class="head"><h4>Read from MongoDB</h4><span class="quiet">${time(event.committed)}</span></div>
        ${event.change === undefined ? html`<p class="quiet small-text">The document is not shown.</p>`
          : html`<details><summary>The change</summary><${Json} label="The change" value=${event.change} /></details>`}</li>
      ${event.steps.map((step, i) => {
        const given = before;
        if (step.body !== undefined) before = step.body;
        return html`<li key=${i}><div class="head"><h4><bdi>${plain(step.step)}</bdi></h4>
            ${step.time ? html`<span class="quiet" title=${time(step.time)}>+${between(event.committed, step.time)}${step.seconds == null ? "" : `, took ${duration(step.seconds)}`}</span>` : null}
            <${State} is=${step.result} /></div>
          ${step.error ? html`<${Note} tone="bad">${plain(step.error)}<//>` : null}
          ${step.body_cut ? html`<p class="quiet small-text">The body is too large to be shown whole.</p>` : null}
          ${step.body === undefined || pretty(given) === pretty(step.body)
            ? step.result === "passed" || step.result === "delivered" ? html`<p class="quiet small-text">body unchanged</p>` : null
            : html`<${Compare} before=${given} after=${step.body} titles=${["Before", `After ${plain(step.step)}`]} />`}</li>`;
      })}
    </ol>
  </article>`;
}
