// Pause and resume a stream, a pipeline or a step.
import { html, useState } from "./html.js";
import { post } from "./api.js";
import { plain, since } from "./format.js";
import { GuardedDialog } from "./access.js";
import { Icon, useAction } from "./ui.js";

/** What a target is called. */
export function named({ stream, pipeline, step }) {
  if (stream != null) return `stream ${plain(stream)}`;
  return step != null ? `step ${plain(step)} of ${plain(pipeline)}` : `pipeline ${plain(pipeline)}`;
}

/** A button that pauses, or resumes what is paused. @param {{target: object, pause: any, app: any}} props */
export function PauseButton({ target, pause, app }) {
  const verb = pause ? "Resume" : "Pause";
  const open = () => app.show((close) => html`<${PauseDialog} target=${target} pause=${pause} app=${app} onClose=${close} />`);
  return html`<button class="plain small" aria-label=${`${verb} ${named(target)}`} title=${`${verb} this ${named(target).split(" ")[0]}`}
    onClick=${open}><${Icon} name=${pause ? "play" : "paused"} /></button>`;
}

function PauseDialog({ target, pause, app, onClose }) {
  const [reason, setReason] = useState("");
  const verb = pause ? "Resume" : "Pause";
  const [run, busy, error] = useAction(async () => {
    await post(pause ? "resume" : "pause", pause ? target : { ...target, reason: reason.trim() || null });
    app.say(`${verb}d: ${named(target)}`);
    app.refresh();
    onClose();
  });
  const submit = (event) => {
    event.preventDefault();
    run();
  };
  return html`<${GuardedDialog} title=${`${verb} ${named(target)}?`} status=${app.model.status} refresh=${app.refresh} onClose=${onClose}>
    <form onSubmit=${submit}>
      ${pause
        ? html`<p><${Paused} pause=${pause} now=${app.model.status.time} /></p><p>Events that waited are sent now, in order.</p>`
        : html`<p>Nothing is lost: events wait, in the end in ${app.model.status.group ? "Kafka" : "MongoDB's oplog"}. A pause survives restarts.</p>
            <label><span>Reason, for whoever sees it later</span>
              <input maxlength="500" value=${reason} onInput=${(event) => setReason(event.target.value)} /></label>`}
      ${error ? html`<p class="error" role="alert">${error}</p>` : null}
      <footer><button type="button" class="second" onClick=${onClose}>Cancel</button>
        <button type="submit" disabled=${busy}>${verb}</button></footer>
    </form>
  <//>`;
}

/** Who paused something, since when and why. */
export const Paused = ({ pause, now }) =>
  html`Paused for ${since(pause.since, now)} by <bdi>${plain(pause.by)}</bdi>${pause.reason ? html`: <bdi>${plain(pause.reason)}</bdi>` : null}`;
