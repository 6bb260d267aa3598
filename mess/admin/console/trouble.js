// Which parts need attention: the order of the picture, and its filters.
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

/** Whether a pipeline has a text in its name, its steps, or its streams' names. */
export function matches(pipeline, text) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return true;
  const parts = [pipeline.name, ...pipeline.streams, ...pipeline.steps.flatMap((step) => [step.name, step.kind, step.about])];
  return parts.some((part) => part.toLowerCase().includes(wanted));
}
