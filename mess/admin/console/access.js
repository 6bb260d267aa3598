// The token: asked for where something needs it.
import { html, useState } from "./html.js";
import { setToken } from "./api.js";
import { plain } from "./format.js";
import { Dialog, Note } from "./ui.js";

/** @param {string} text */
const sentence = (text) => plain(text.charAt(0).toUpperCase() + text.slice(1) + (text.endsWith(".") ? "" : "."));

/** A form for the token. @param {{why: string, refresh: () => void}} props */
export function TokenForm({ why, refresh }) {
  const [value, setValue] = useState("");
  const [keep, setKeep] = useState(false);
  const [used, setUsed] = useState(false);
  const submit = (event) => {
    event.preventDefault();
    setToken(value.trim(), keep);
    setUsed(true);
    refresh();
  };
  return html`<form class="token" onSubmit=${submit}>
    <${Note} tone="key">${sentence(why)}<//>
    ${used ? html`<p role="alert">With this token, the relay still says no.</p>` : null}
    <label><span>Token</span>
      <input type="password" autocomplete="off" value=${value} onInput=${(event) => setValue(event.target.value)} /></label>
    <label class="check"><input type="checkbox" checked=${keep} onChange=${(event) => setKeep(event.target.checked)} />
      Keep it in this tab when the page reloads</label>
    <button type="submit" disabled=${!value.trim()}>Use the token</button>
  </form>`;
}

/** Children if the client may see what is private and change something, otherwise why not. */
export function Guarded({ status, refresh, children }) {
  return status.access.changes ? children : html`<${TokenForm} why=${status.access.why ?? "This needs a token"} refresh=${refresh} />`;
}

/** The same in a dialog, where something is done. */
export function GuardedDialog({ title, status, refresh, onClose, children }) {
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <${Guarded} status=${status} refresh=${refresh}>${children}<//>
  <//>`;
}
