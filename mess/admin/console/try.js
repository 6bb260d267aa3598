// Try an event: what each step makes of it, without sending anything.
import { html, useState } from "./html.js";
import { parse, post } from "./api.js";
import { plain, pretty } from "./format.js";
import { Guarded } from "./access.js";
import { Compare } from "./compare.js";
import { Fact, Json, Note, State, useAction } from "./ui.js";

const EXAMPLE = { namespace: "shop.orders", document: { _id: 1, total: 120 } };

// What the page holds while it is open: the event that was picked, and the last result.
let kept = { text: JSON.stringify(EXAMPLE, null, 2), pipeline: "", tried: null, event: null };

/** Pick an event for this view. @param {{event: any, pipeline?: string}} picked */
export function take({ event, pipeline = "" }) {
  kept = { text: JSON.stringify(event, null, 2), pipeline, tried: null, event: null };
}

export const Try = ({ app }) => html`<${Guarded} status=${app.model.status} refresh=${app.refresh}><${Form} app=${app} /><//>`;

function Form({ app }) {
  const [state, setState] = useState(kept);
  const change = (part) => setState((kept = { ...kept, ...part }));
  const [run, busy, error] = useAction(async () => {
    let event;
    try {
      event = parse(kept.text);
    } catch (problem) {
      throw new Error(`This is not JSON: ${problem.message}`);
    }
    change({ tried: await post("try", { event, pipeline: kept.pipeline || null }), event });
  });
  const submit = (event) => {
    event.preventDefault();
    run();
  };
  return html`<div class="head"><h2>Try an event</h2><p class="quiet">Nothing is sent or stored. Your own functions run.</p></div>
    <form class="panel" onSubmit=${submit}>
      <label><span>A change event in Extended JSON, or a namespace and a document for an insert. The live tail and the dead letters have a button that copies theirs here.</span>
        <textarea rows="12" spellcheck="false" value=${state.text} onInput=${(event) => change({ text: event.target.value })}></textarea></label>
      <div class="head"><label><span>Pipeline</span>
        <select value=${state.pipeline} onChange=${(event) => change({ pipeline: event.target.value })}>
          <option value="">the one of its namespace</option>
          ${app.model.status.pipelines.map(({ name }) => html`<option key=${name} value=${name}>${plain(name)}</option>`)}</select></label>
        <button type="submit" disabled=${busy}>${busy ? "Running …" : "Try it"}</button></div>
      ${error ? html`<p class="error" role="alert">${error}</p>` : null}
    </form>
    ${state.tried ? html`<${Result} tried=${state.tried} event=${state.event} />` : null}`;
}

function Result({ tried, event }) {
  let before = event.operationType ? event : null; // a shorthand is no body
  return html`<section class="path" aria-label="Result"><h2>Through <bdi>${plain(tried.pipeline)}</bdi></h2>
    ${tried.steps.map((step, i) => {
      const given = before;
      if (step.body != null) before = step.body;
      return html`<article class="panel" key=${i}>
        <div class="head"><h3>${i + 1}. <bdi>${plain(step.step)}</bdi></h3><${State} is=${step.result} /></div>
        ${step.destination ? html`<dl class="facts"><${Fact} label="To">${plain(step.destination)}<//></dl>` : null}
        ${step.error ? html`<${Note} tone="bad">${plain(step.error)}<//>` : null}
        ${step.headers ? html`<details><summary>Headers</summary><${Json} label="Headers" value=${step.headers} /></details>` : null}
        ${step.body == null ? null : given == null ? html`<${Json} label=${`Body after ${plain(step.step)}`} value=${step.body} />` : pretty(given) === pretty(step.body)
          ? html`<details><summary>Body, as it was before</summary><${Json} label=${`Body after ${plain(step.step)}`} value=${step.body} /></details>`
          : html`<${Compare} before=${given} after=${step.body} titles=${["Before", `After ${plain(step.step)}`]} />`}
      </article>`;
    })}
  </section>`;
}
