// The picture: MongoDB, streams, pipelines, steps and sinks, with what flows between them.
import { html, useRef, useState } from "./html.js";
import { duration, plain, plural, rate, short, whole } from "./format.js";
import { go, link } from "./route.js";
import { pipelineKey, streamKey } from "./state.js";
import { Chart } from "./chart.js";
import { Edges } from "./edges.js";
import { PipelineCard } from "./pipeline.js";
import { StreamCard } from "./stream.js";
import { Kafka, figures as ofGroup } from "./kafka.js";
import { FILTERS, ORDERS, matches, ordered, pipelineTone, sorted } from "./trouble.js";
import { Icon, tone } from "./ui.js";

const OPEN = 6;
const PAGE = 50;
const MANY = 24;

export function Picture({ app, query }) {
  const { status } = app.model;
  const [shown, setShown] = useState(PAGE);
  const map = useRef(null);
  const all = sorted(status.pipelines, pipelineTone).filter(({ part }) => matches(part, query.q ?? ""));
  const state = FILTERS[query.state] ? query.state : "";
  const found = all.filter((each) => FILTERS[state][1](each.tone));
  const pipelines = ordered(found, query.sort, app.model).slice(0, shown);
  const names = new Set(found.map(({ part }) => part.name));
  const filtered = Boolean(state || query.q);
  const streams = sorted(status.streams, (stream) => tone(stream.state)).filter(
    ({ part }) => !filtered || part.pipelines.some((name) => names.has(name)),
  );
  const some = streams.slice(0, shown);
  const open = status.pipelines.length <= OPEN;
  const many = some.length + pipelines.length > MANY;
  return html`
    <${Figures} app=${app} />
    <${Chart} model=${app.model} />
    <section aria-labelledby="flow-title">
      <div class="head"><h2 id="flow-title">Flow</h2>
        ${status.pipelines.length > 3 || filtered ? html`<${Finder} query=${query} state=${state} all=${all} />` : null}</div>
      <div class="map" ref=${map}>
        <div class="source">${status.group
          ? html`<${Kafka} group=${status.group} total=${total(app.model, status.streams)} />`
          : html`<div class="card" data-node="source"><${Icon} name="database" /><strong>MongoDB</strong>
            <span>${rate(total(app.model, status.streams))}</span>
            <span class="quiet">${status.oplog_seconds == null ? "" : `oplog: ${duration(status.oplog_seconds)}`}</span></div>`}</div>
        <ul class="streams" aria-label=${status.group ? "Partitions" : "Streams"}>
          ${status.group && !some.length ? html`<li class="quiet">No partition is assigned to this member.</li>` : null}
          ${some.map(({ part }) => html`<${StreamCard} key=${part.name} stream=${part} app=${app} compact=${streams.length > OPEN} stub=${many} />`)}
          ${streams.length > shown ? html`<li class="quiet">and ${plural(streams.length - shown, "more stream")}</li>` : null}
        </ul>
        <ul class="pipelines" aria-label="Pipelines">
          ${pipelines.map(({ part, tone: kind }, i) => html`<${PipelineCard} key=${part.name} pipeline=${part} kind=${kind} app=${app} open=${open} stub=${many && i < MANY} />`)}
          ${found.length ? null : html`<li class="quiet">No pipeline is like this. <a href=${link("")}>Show all</a></li>`}
          ${found.length > shown ? html`<li><button class="second" onClick=${() => setShown(shown + 3 * PAGE)}>
            Show ${whole(Math.min(3 * PAGE, found.length - shown))} more of ${whole(found.length)}</button></li>` : null}
        </ul>
        <${Edges} map=${map} links=${links(app.model, some, pipelines)} still=${many} />
      </div>
    </section>`;
}

const total = (model, streams) => {
  const known = streams.map((stream) => model.rate(streamKey(stream))).filter((value) => value != null);
  return known.length ? known.reduce((a, b) => a + b, 0) : null;
};

/** What is connected with what. A pipeline of several streams gets its rate from all of them. */
function links(model, streams, pipelines) {
  const shown = new Set(streams.map(({ part }) => part.name));
  const found = streams.map(({ part, tone: kind }) => ({ from: "source", to: streamKey(part), rate: model.rate(streamKey(part)) ?? 0, kind }));
  for (const { part, tone: kind } of pipelines)
    for (const name of part.streams)
      if (shown.has(name)) found.push({ from: streamKey({ name }), to: pipelineKey(part), rate: (model.rate(pipelineKey(part)) ?? 0) / part.streams.length, kind });
  return found;
}

function Finder({ query, state, all }) {
  return html`<form class="finder" role="search" onSubmit=${(event) => event.preventDefault()}>
    <div role="group" aria-label="State" class="chips">${Object.entries(FILTERS).map(([key, [name, test]]) => html`
      <button type="button" key=${key} aria-pressed=${key === state} onClick=${() => go("", { ...query, state: key })}>
        ${name} <span class="count">${whole(all.filter((each) => test(each.tone)).length)}</span></button>`)}</div>
    <select aria-label="Order" value=${query.sort ?? ""} onChange=${(event) => go("", { ...query, sort: event.target.value })}>
      ${Object.entries(ORDERS).map(([key, name]) => html`<option key=${key} value=${key}>${name}</option>`)}</select>
    <input type="search" aria-label="Find a pipeline by name, stream or step" placeholder="Find by name, stream, step"
      value=${query.q ?? ""} onInput=${(event) => go("", { ...query, q: event.target.value }, true)} />
  </form>`;
}

function Figures({ app }) {
  const { model } = app;
  const { status } = model;
  const lags = status.streams.map((stream) => stream.lag_seconds).filter((lag) => lag != null);
  const rooms = status.streams.map((stream) => stream.oplog_headroom_seconds).filter((room) => room != null);
  const waiting = status.pipelines.reduce((sum, each) => sum + each.waiting_events, 0);
  const room = rooms.length ? Math.min(...rooms) : null;
  const scarce = status.warnings.some((text) => text.includes("end of MongoDB's oplog")); // the relay knows when it is; a young oplog is short
  const throughput = ["Throughput", rate(model.rate()), "events done", ""];
  const flying = ["In flight", short(waiting), waiting === 1 ? "event" : "events", ""];
  const letters = ["Dead letters", short(status.dead_letters), "stored", status.dead_letters ? "bad" : ""];
  const figures = status.group ? [throughput, flying, letters, ...ofGroup(status.group)] : [
    throughput,
    ["Lag", lags.length ? duration(Math.max(...lags)) : "–", lags.length > 1 ? "of the slowest stream" : "behind MongoDB", ""],
    flying,
    ["Done", short(status.done), "since the start", ""],
    letters,
    ["Oplog headroom", duration(room), scarce ? "running out" : room == null ? "no limit known yet" : "before changes are lost", scarce ? "bad" : ""],
  ];
  return html`<dl class="figures">${figures.map(([name, value, about, kind]) => html`
    <div key=${name} class=${kind}><dt>${name}</dt><dd>${value}</dd><dd class="quiet">${plain(about)}</dd></div>`)}</dl>`;
}
