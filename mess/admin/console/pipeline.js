// A pipeline in the picture: one line, or its steps with their figures.
import { html, useState } from "./html.js";
import { duration, plain, rate, short } from "./format.js";
import { link } from "./route.js";
import { pipelineKey, stepKey } from "./state.js";
import { slowest } from "./trouble.js";
import { Paused, PauseButton } from "./pause.js";
import { Fact, Icon, Note, Pipe, State } from "./ui.js";

export function PipelineCard({ pipeline, kind, app, open, stub }) {
  const [chosen, setChosen] = useState(null);
  const expanded = chosen ?? open;
  const { model } = app;
  const down = pipeline.state === "waiting" && pipeline.steps.some((step) => step.state === "down");
  return html`<li class="card ${kind} ${expanded ? "open" : "compact"}" data-node=${pipelineKey(pipeline)}>
    ${stub ? html`<${Pipe} kind="stub" rate=${model.rate(pipelineKey(pipeline))} />` : null}
    <div class="title">
      <h3><button class="fold" aria-expanded=${expanded} onClick=${() => setChosen(!expanded)} title=${plain(pipeline.name)}>
        <${Icon} name="more" /><bdi>${plain(pipeline.name)}</bdi></button></h3>
      ${expanded ? null : html`<${Chain} pipeline=${pipeline} />
        <span class="number quiet time" title="A call of its slowest step">${duration(slowest(pipeline, model))}</span>`}
      <span class="number">${rate(model.rate(pipelineKey(pipeline)))}</span>
      <span class="number quiet">${pipeline.waiting_events ? `${short(pipeline.waiting_events)} in flight` : ""}</span>
      <${State} is=${down ? "down" : pipeline.state} label=${down ? "Sink down" : null} />
      <${PauseButton} target=${{ pipeline: pipeline.name }} pause=${pipeline.pause} app=${app} />
    </div>
    ${expanded ? html`<ol class="steps" aria-label="Steps">${pipeline.steps.map((step) => html`
      <${StepCard} key=${step.name} step=${step} pipeline=${pipeline} app=${app} />`)}</ol>` : null}
    ${pipeline.pause ? html`<${Note} tone="paused"><${Paused} pause=${pipeline.pause} now=${model.status.time} /><//>` : null}
    ${pipeline.wait ? html`<${Note} tone=${kind === "bad" ? "bad" : "wait"} title="Why it waits:">${plain(pipeline.wait.text)}<//>` : null}
    ${expanded ? pipeline.steps.map((step) => html`<${StepNotes} key=${step.name} step=${step} pipeline=${pipeline} model=${model} />`) : null}
  </li>`;
}

const Chain = ({ pipeline }) => html`<span class="chain">${pipeline.steps.map((step, i) => html`
  <span key=${step.name} class="${step.state === "up" ? "" : "bad"} ${step.sink ? "sink" : ""}">${plain(step.name)}</span>`)}</span>`;

/** What a step does, without its kind, which is its heading. */
function about({ kind, name, about: text }) {
  const rest = text.startsWith(kind) ? text.slice(kind.length).trim() : text;
  return rest === name ? "" : rest;
}

function StepCard({ step, pipeline, app }) {
  const { model } = app;
  const key = stepKey(pipeline, step);
  const flow = model.rate(key);
  const failing = model.rate(key, 1);
  const kind = step.state === "down" ? "bad" : step.state === "paused" ? "paused" : "ok";
  return html`<li class="step ${kind} ${step.sink ? "sink" : ""}"><${Pipe} rate=${flow} />
    <div class="title"><h4><bdi>${plain(step.name)}</bdi>${step.kind === step.name ? null : html` <span class="quiet">${plain(step.kind)}</span>`}</h4>
      ${step.state === "up" ? null : html`<${State} is=${step.state} />`}
      <${PauseButton} target=${{ pipeline: pipeline.name, step: step.name }} pause=${step.pause} app=${app} /></div>
    <p class="about-step" title=${plain(step.about)}>${step.sink ? html`<${Icon} name="send" />` : null}<bdi>${plain(about(step))}</bdi></p>
    <dl class="facts">
      <${Fact} label=${step.sink ? "Delivered" : "Passed"} title=${`${short(step.delivered)} since the start`}>${rate(flow)}<//>
      <${Fact} label="Per call" title=${`${short(step.attempts)} calls since the start`}>${duration(model.latency(key))}<//>
      ${step.dropped ? html`<${Fact} label="Dropped">${short(step.dropped)}<//>` : null}
      ${step.failed ? html`<${Fact} label="Failed" title=${`${short(step.retried)} retried`}>${failing > 0.05 ? rate(failing) : short(step.failed)}<//>` : null}
      ${step.dead_letters ? html`<${Fact} label="Dead letters"><a href=${link("letters", { pipeline: pipeline.name, step: step.name })}>${short(step.dead_letters)}</a><//>` : null}
    </dl>
  </li>`;
}

/** Why a step waits or who paused it, unless the pipeline says the same. */
function StepNotes({ step, pipeline, model }) {
  const wait = step.wait && step.wait.cause !== pipeline.wait?.cause ? step.wait : null;
  return html`${step.pause ? html`<${Note} tone="paused" title=${`${plain(step.name)}:`}><${Paused} pause=${step.pause} now=${model.status.time} /><//>` : null}
    ${wait ? html`<${Note} tone="wait" title=${`${plain(step.name)}:`}>${plain(wait.text)}<//>` : null}`;
}
