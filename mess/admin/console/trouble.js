// Which parts need attention: the order of the picture, and its filters.
import { pipelineKey, stepKey } from "./state.js";
import { tone } from "./ui.js";

const ORDER = ["bad", "wait", "paused", "ok", "idle"];

/** A pipeline's tone: bad if one of its steps is down. */
export function pipelineTone(pipeline) {
  if (pipeline.state === "paused") return "paused";
  if (pipeline.steps.some((step) => step.state === "down")) return "bad";
  return pipeline.steps.some((step) => step.state === "paused") ? "paused" : tone(pipeline.state);
}

export const FILTERS = {
  "": ["All", () => true],
  trouble: ["In trouble", (kind) => kind === "bad" || kind === "wait"],
  paused: ["Paused", (kind) => kind === "paused"],
  fine: ["Fine", (kind) => kind === "ok" || kind === "idle"],
};

/** Pipelines and streams with their tones, those in trouble first. */
export function sorted(parts, toneOf) {
  const found = parts.map((part) => ({ part, tone: toneOf(part) }));
  return found.sort((a, b) => ORDER.indexOf(a.tone) - ORDER.indexOf(b.tone));
}

export const ORDERS = {
  "": "Trouble first",
  slow: "Slowest step first",
  waiting: "Most in flight first",
  rate: "Highest rate first",
};

/** How long a call of a pipeline's slowest step takes, in seconds; null if none was called lately. */
export function slowest(pipeline, model) {
  const times = pipeline.steps.map((step) => model.latency(stepKey(pipeline, step))).filter((time) => time != null);
  return times.length ? Math.max(...times) : null;
}

/** Pipelines in another order than by trouble, the highest first. @param {string} order a key of ORDERS */
export function ordered(found, order, model) {
  const measure = {
    slow: ({ part }) => slowest(part, model) ?? 0,
    waiting: ({ part }) => part.waiting_events,
    rate: ({ part }) => model.rate(pipelineKey(part)) ?? 0,
  }[order];
  return measure ? found.toSorted((a, b) => measure(b) - measure(a)) : found;
}

/** Whether a pipeline has a text in its name, its steps, or its streams' names. */
export function matches(pipeline, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return true;
  const parts = [pipeline.name, ...pipeline.streams, ...pipeline.steps.flatMap((step) => [step.name, step.kind, step.about])];
  return parts.some((part) => part.toLowerCase().includes(wanted));
}
