// Where one event is: waiting, delivered, dropped, a dead letter, or not seen.
import { html } from "./html.js";
import { plain, time } from "./format.js";
import { useAnswer } from "./poll.js";
import { link } from "./route.js";
import { Note, State } from "./ui.js";

const TONES = { waiting: "wait", retrying: "wait", delivered: "ok", dropped: "idle", dead_letter: "bad", skipped: "wait", not_seen: "idle" };

export function Place({ id }) {
  const { data, error } = useAnswer(`events/${encodeURIComponent(id)}`, { seconds: 3 });
  if (!data) return error ? html`<${Note} tone="bad">${plain(error.message)}<//>` : null;
  return html`<section class="panel" aria-label="Where the event is"><div class="head"><h3><code>${plain(id)}</code></h3><${State} is=${data.state} /></div>
    <${Note} tone=${TONES[data.state] ?? "idle"}>${plain(data.text)}<//>
    <p class="quiet">${data.pipeline == null ? "" : plain([data.pipeline, data.step].filter(Boolean).join(" › "))} ${data.since ? `since ${time(data.since)}` : ""}
      ${data.state === "dead_letter" ? html` <a href=${link("letters", { id })}>Its dead letter</a>` : null}</p></section>`;
}
