// Shows the requests that arrive as server-sent events. All that comes from outside is inserted as text.

const MOST = 200;
const FLUSH_MS = 100;

const at = (id) => document.getElementById(id);
const list = at("list");
const filter = at("filter");

let rows = []; // newest first: {request, element, button, text}
let incoming = []; // arrived, not shown yet, the oldest first
let selected = null; // a row; null: follow the newest
let paused = false;
let timer = 0;
let total = 0;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Words for people

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit",
  fractionalSecondDigits: 3, hourCycle: "h23" });
const time = (seconds) => clock.format(new Date(seconds * 1000));
const took = (seconds) => (seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(1)} s`);
const size = (bytes) => (bytes < 1024 ? `${bytes} bytes` : `${(bytes / 1024).toFixed(1)} KiB`);
const about = (request) => request.operation || request.method;
const place = (request) => [request.namespace, request.key].filter(Boolean).join(" ") || request.path;

// The list

function row(request) {
  const button = element("button");
  button.type = "button";
  button.tabIndex = -1;
  const status = element("span", "status", request.status);
  status.dataset.class = `${String(request.status)[0]}xx`;
  const operation = element("span", "operation", about(request));
  operation.dataset.operation = request.operation;
  const signature = element("span", "signature", request.signature.result);
  signature.dataset.result = request.signature.result;
  const where = element("span", "where");
  where.append(element("span", "place", place(request)), ...request.marks.map((mark) => element("span", "mark", mark)));
  button.append(element("span", "time", time(request.time)), status, operation, where, signature,
    element("span", "took", took(request.took)));
  const item = element("li");
  item.append(button);
  const made = { request, element: item, button, text: searchable(request) };
  item.hidden = !matches(made);
  button.addEventListener("click", () => select(made, true));
  return made;
}

function searchable(request) {
  const parts = [request.status, about(request), place(request), request.signature.result, ...request.marks,
    request.path, ...request.headers.flat(), request.body];
  return parts.join("\n").toLowerCase();
}

const matches = (each) => each.text.includes(filter.value.trim().toLowerCase());
const visible = () => rows.filter((each) => !each.element.hidden);

function flush() {
  timer = 0;
  if (paused) return showCounts();
  const added = incoming.map(row).reverse();
  incoming = [];
  list.prepend(...added.map((each) => each.element));
  rows = [...added, ...rows];
  for (const old of rows.splice(MOST)) {
    if (old.element.contains(document.activeElement)) rows.at(-1).button.focus({ preventScroll: true });
    old.element.remove();
  }
  show();
}

function showCounts() {
  const shown = visible().length;
  const some = shown < total ? `${shown} of ${total} requests` : `${total} ${total === 1 ? "request" : "requests"}`;
  at("count").textContent = total ? some : "";
  at("pause").textContent = paused ? `Resume${incoming.length ? ` (${incoming.length} new)` : ""}` : "Pause";
  at("empty").hidden = shown > 0;
  at("empty").textContent = rows.length ? "No request matches the filter." : "Waiting for the first webhook.";
}

// What is selected

function show() {
  showCounts();
  const current = selected ?? visible()[0];
  for (const each of rows) {
    each.button.tabIndex = each === current ? 0 : -1;
    if (each === selected) each.button.setAttribute("aria-current", "true");
    else each.button.removeAttribute("aria-current");
  }
  if (current && !current.button.isConnected && visible()[0]) visible()[0].button.tabIndex = 0;
  document.body.classList.toggle("selected", selected !== null);
  at("follow").hidden = selected === null;
  at("which").textContent = selected ? "Selected" : "Newest";
  at("detail").hidden = !current;
  if (current) showRequest(current.request);
}

let shown = null;

function showRequest(request) {
  if (request === shown) return;
  shown = request;
  at("title").textContent = `${about(request)} ${place(request)}`;
  const { result, why } = request.signature;
  facts(at("facts"), [
    ["Received", time(request.time)],
    ["Answered", `${request.status} after ${took(request.took)}`],
    ["Signature", why ? `${result}: ${why}` : result, result],
    ["Request", `${request.method} ${request.path}, ${size(request.size)}`],
    ["Delivery", request.marks.join(", ")],
  ].filter(([, text]) => text));
  facts(at("headers"), request.headers);
  at("cut").hidden = request.kept === request.size;
  at("cut").textContent = `The first ${size(request.kept)} of ${size(request.size)}.`;
  at("body").textContent = request.body || "(empty)";
}

function facts(parent, pairs) {
  parent.replaceChildren(...pairs.map(([name, text, result]) => {
    const pair = element("div");
    const value = element("dd", "", text);
    if (result) value.dataset.result = result;
    pair.append(element("dt", "", name), value);
    return pair;
  }));
}

const narrow = matchMedia("(max-width: 55rem)");

function select(each, byPointer) {
  selected = each;
  show();
  if (byPointer && narrow.matches) at("detail").focus(); // it covers the list
}

function follow() {
  const before = selected;
  selected = null;
  show();
  if (before?.button.isConnected) before.button.focus();
}

function move(step) {
  const those = visible();
  if (!those.length) return;
  const index = those.findIndex((each) => each === selected);
  const next = those[index < 0 ? 0 : Math.min(Math.max(index + step, 0), those.length - 1)];
  select(next, false);
  next.button.focus();
}

// Keys and buttons

function pause() {
  paused = !paused;
  at("pause").setAttribute("aria-pressed", paused);
  flush();
}

at("pause").addEventListener("click", pause);
at("follow").addEventListener("click", follow);
at("tools").addEventListener("submit", (event) => event.preventDefault());
filter.addEventListener("input", () => {
  for (const each of rows) each.element.hidden = !matches(each);
  show();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && event.target === filter) {
    filter.value = "";
    filter.dispatchEvent(new Event("input"));
    filter.blur();
  } else if (event.target === filter) return;
  else if (event.key === "Escape") follow();
  else if (event.key === "/") filter.focus();
  else if (event.key === "p") pause();
  else if (event.key === "ArrowDown" && event.target !== at("body")) move(1);
  else if (event.key === "ArrowUp" && event.target !== at("body")) move(-1);
  else return;
  event.preventDefault();
});

// The events

function connection(state, text) {
  at("connection").dataset.state = state;
  at("connection").textContent = text;
}

const events = new EventSource("bin/events");
events.addEventListener("open", () => connection("live", "live"));
events.addEventListener("error", () => {
  if (events.readyState === EventSource.CLOSED) connection("lost", "the server refuses; too many pages may be open");
  else connection("lost", "connection lost, trying again");
});
events.addEventListener("hello", (event) => {
  const { console: address } = JSON.parse(event.data);
  at("console").hidden = !address;
  if (address) at("console").href = address;
});
events.addEventListener("act", (event) => {
  at("act").textContent = JSON.parse(event.data);
  at("act").hidden = !at("act").textContent;
});
events.addEventListener("end", () => {
  events.close();
  connection("ended", "the demo has ended");
});
events.addEventListener("message", (event) => {
  const request = JSON.parse(event.data);
  total = request.number;
  incoming.push(request);
  if (incoming.length > MOST) incoming.shift();
  timer ||= setTimeout(flush, FLUSH_MS);
});
