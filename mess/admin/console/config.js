// The effective config, redacted, with the place of each value.
import { html } from "./html.js";
import { post } from "./api.js";
import { line, plain, time, whole } from "./format.js";
import { useAnswer } from "./poll.js";
import { go } from "./route.js";
import { Guarded, GuardedDialog } from "./access.js";
import { Filters, Missing, Note, useAction } from "./ui.js";

const SOURCES = ["file", "environment", "command line", "default"];
const MOST = 1000;

/** Where a value was said: `config.yml:12, ${NAME}`. */
function origin({ source, file, line: number, variables }) {
  if (source === "environment") return `environment variable ${variables.join(", ")}`;
  return source === "file" ? [`${file}:${number}`, ...variables.map((name) => `\${${name}}`)].join(", ") : source;
}

export const Config = ({ app, query }) => html`<${Guarded} status=${app.model.status} refresh=${app.refresh}><${Values} query=${query} app=${app} /><//>`;

function Values({ app, query }) {
  const { data, error, reload } = useAnswer("config");
  const ask = () => app.show((close) => html`<${ReloadDialog} app=${app} reload=${reload} onClose=${close} />`);
  const wanted = (query.q ?? "").toLowerCase();
  const found = (data?.values ?? []).filter((each) => (!query.source || each.source === query.source)
    && `${each.path} ${line(each.value)} ${origin(each)}`.toLowerCase().includes(wanted));
  const fields = [{ name: "q", title: "Find", placeholder: "name, value or file" }, { name: "source", title: "From", options: SOURCES }];
  const reloaded = app.model.status.last_reload;
  return html`<div class="head"><h2>Config ${data?.file ? html`<span class="quiet"><bdi>${plain(data.file)}</bdi></span>` : null}</h2>
      <button onClick=${ask}>Reload …</button></div>
    ${reloaded ? html`<${Reloaded} result=${reloaded} />` : null}
    <${Filters} label="Filter the config" fields=${fields} values=${query} onChange=${(values) => go("config", values, true)} />
    ${data ? html`<section class="panel config" aria-label="Values"><p class="quiet small-text">${whole(found.length)} of ${whole(data.values.length)} values; secrets are hidden.</p>
      <div class="scroll" tabindex="0" role="region" aria-label="Values"><table><thead><tr><th scope="col">Option</th><th scope="col">Value</th><th scope="col">From</th></tr></thead>
        <tbody>${found.slice(0, MOST).map((each) => html`<tr key=${each.path} class=${each.source === "default" ? "default" : ""}>
          <td><code>${plain(each.path)}</code></td><td><code>${line(each.value)}</code></td>
          <td><bdi>${plain(origin(each))}</bdi></td></tr>`)}</tbody></table></div>
      ${found.length > MOST ? html`<p class="quiet">Only the first ${whole(MOST)} are shown: filter.</p>` : null}</section>` : html`<${Missing} error=${error} />`}`;
}

/** What a reload did, or why the old config stays. */
const Reloaded = ({ result }) => html`<${Note} tone=${result.ok ? "ok" : "bad"} title=${`${result.ok ? "Reloaded" : "Not reloaded"} at ${time(result.time)}.`}>
  <ul>${result.text.map((text) => html`<li key=${text}>${plain(text)}</li>`)}</ul><//>`;

function ReloadDialog({ app, reload, onClose }) {
  const [run, busy, error] = useAction(async () => {
    const result = await post("reload", {});
    app.say(result.ok ? "The config was reloaded" : "The config has mistakes: the old one stays");
    app.refresh();
    reload();
    onClose();
  });
  const submit = (event) => {
    event.preventDefault();
    run();
  };
  return html`<${GuardedDialog} title="Reload the config?" status=${app.model.status} refresh=${app.refresh} onClose=${onClose}>
    <form onSubmit=${submit}>
      <p>The relay reads its config file again, and the files of its secrets. If there is a mistake, the old config stays. Only what has changed is replaced; nothing is lost.</p>
      ${error ? html`<p class="error" role="alert">${error}</p>` : null}
      <footer><button type="button" class="second" onClick=${onClose}>Cancel</button>
        <button type="submit" disabled=${busy}>${busy ? "Reloading …" : "Reload"}</button></footer>
    </form><//>`;
}
