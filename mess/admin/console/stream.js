// A change stream in the picture.
import { html } from "./html.js";
import { duration, plain, plural, rate, size, whole } from "./format.js";
import { streamKey } from "./state.js";
import { PartitionFacts, partitionOf } from "./kafka.js";
import { Paused, PauseButton } from "./pause.js";
import { Bar, Fact, Note, Pipe, State, tone } from "./ui.js";

const WATCHED = 3;

export function StreamCard({ stream, app, compact, stub }) {
  const { model } = app;
  const kind = tone(stream.state);
  const partition = partitionOf(model.status.group, stream);
  const watches = stream.watches.slice(0, WATCHED).join(", ") + (stream.watches.length > WATCHED ? ` and ${stream.watches.length - WATCHED} more` : "");
  return html`<li class="card ${kind} ${compact ? "compact" : ""}" data-node=${streamKey(stream)}>
    ${stub ? html`<${Pipe} kind="stub" rate=${model.rate(streamKey(stream))} />` : null}
    <div class="title"><h3 title=${plain(stream.name)}><bdi>${plain(stream.name)}</bdi></h3>
      <${State} is=${stream.state} />
      <${PauseButton} target=${{ stream: stream.name }} pause=${stream.pause} app=${app} /></div>
    <dl class="facts">
      <${Fact} label="Rate">${rate(model.rate(streamKey(stream)))}<//>
      ${partition ? html`<${PartitionFacts} partition=${partition} stream=${stream} />` : html`<${Fact} label="Lag">${duration(stream.lag_seconds)}<//>`}
      ${compact || partition ? null : html`
        <${Fact} label="Headroom" title="How far its position is ahead of MongoDB's oldest oplog entry">${duration(stream.oplog_headroom_seconds)}<//>
        <${Fact} label="Checkpoint" title="Since its position was last stored">${duration(stream.checkpoint_age_seconds)}<//>`}
    </dl>
    ${compact ? null : html`<${Window} stream=${stream} />
      ${partition ? null : html`<p class="quiet small-text watches" title=${plain(stream.watches.slice(0, 50).join(", "))}>watches <bdi>${stream.watches.length ? plain(watches) : "everything"}</bdi></p>`}`}
    ${stream.pause ? html`<${Note} tone="paused"><${Paused} pause=${stream.pause} now=${model.status.time} /><//>` : null}
    ${stream.problem ? html`<${Note} tone="bad">${plain(stream.problem)}<//>` : null}
    ${stream.wait ? html`<${StreamWait} stream=${stream} model=${model} />` : null}
  </li>`;
}

/** The sentence is shown once: at the pipeline, if that waits for the same. */
function StreamWait({ stream, model }) {
  const same = model.status.pipelines.some((each) => stream.pipelines.includes(each.name) && each.wait?.cause === stream.wait.cause);
  return html`<${Note} tone="wait">${same
    ? html`${plural(stream.wait.events, "event")} waiting: <bdi>${plain(stream.wait.cause)}</bdi>`
    : plain(stream.wait.text)}<//>`;
}

function Window({ stream }) {
  const events = stream.window_events / (stream.window_max_events || 1);
  const bytes = stream.window_bytes / (stream.window_max_bytes || 1);
  const part = Math.max(events, bytes);
  const text = bytes > events ? `${size(stream.window_bytes)} of ${size(stream.window_max_bytes)}` : `${whole(stream.window_events)} of ${whole(stream.window_max_events)} events`;
  return html`<div class="window"><${Bar} value=${part} max=${1} label=${`Window: ${text}`} kind=${part > 0.95 ? "wait" : "ok"} />
    <span class="quiet small-text">window: ${text}</span></div>`;
}
