// What a standby shows instead of streams and pipelines, and what the header says of a process's role.
import { html } from "./html.js";
import { duration, plain, since, time } from "./format.js";
import { Fact, Icon } from "./ui.js";

/** @param {any} status */
export const standsBy = (status) => status.role?.name === "standby";

/** Which of several processes is active. A standby sees nothing of what that one does. */
export function Standby({ status }) {
  const { role } = status;
  const { active } = role;
  const lease = duration(role.lease_seconds);
  return html`<section class="panel standby" aria-labelledby="standby"><h2 id="standby"><${Icon} name="standby" /> Standby</h2>
    ${active
      ? html`<p>Standby: <strong><bdi>${plain(active.host)}</bdi></strong> is active${active.since ? ` since ${time(active.since)}` : ""}; takes over ${lease} after its last sign of life.</p>`
      : html`<p>Standby: no process is known to be active. Takes over ${lease} after the last sign of life of another one.</p>`}
    <dl class="facts">
      ${active ? html`<${Fact} label="Active process"><bdi>${plain(active.host)}</bdi>:${active.pid}<//>
        <${Fact} label="Active for">${since(active.since, status.time)}<//>` : null}
      <${Fact} label="Standby for">${since(role.since, status.time)}<//>
      <${Fact} label="Lease">${lease}<//>
    </dl>
    <p class="quiet small-text">Events flow in the active process: open its console to watch and change what they do. Dead letters, gaps,
      backfills and checkpoints are shown here, too.</p></section>`;
}
