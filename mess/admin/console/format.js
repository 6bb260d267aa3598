// Numbers, durations and text from outside, as people read them.

const NUMBER = new Intl.NumberFormat("en");
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });
const NONE = "–";

/** @param {number | null | undefined} value */
export const whole = (value) => (value == null ? NONE : NUMBER.format(value));

/** @param {number | null | undefined} value */
export const short = (value) => (value == null ? NONE : value < 10_000 ? NUMBER.format(Math.round(value)) : SHORT.format(value));

/** Events per second. @param {number | null | undefined} value */
export function rate(value) {
  if (value == null) return NONE;
  if (value < 0.05) return "0/s";
  return value < 10 ? `${value.toFixed(1)}/s` : `${short(value)}/s`;
}

/** A plural where it is one. @param {number} value @param {string} noun */
export const plural = (value, noun) => `${whole(value)} ${noun}${value === 1 ? "" : "s"}`;

/** @param {number | null | undefined} seconds */
export function duration(seconds) {
  if (seconds == null) return NONE;
  const s = Math.max(0, seconds);
  if (s > 0 && s < 0.00005) return "< 0.1 ms";
  if (s < 0.0995) return `${s < 0.00995 && s > 0 ? (s * 1000).toFixed(1) : Math.round(s * 1000)} ms`;
  if (s < 9.95) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  if (s < 172_800) return `${Math.floor(s / 3600)} h`;
  return `${Math.floor(s / 86_400)} d`;
}

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1 << 20 ? `${(bytes / 1024).toFixed(1)} KiB` : `${(bytes / (1 << 20)).toFixed(1)} MiB`;
}

/** The local time of day, with the date if it is not today. @param {string | null} iso */
export function time(iso) {
  if (!iso) return NONE;
  const date = new Date(iso);
  const clock = date.toLocaleTimeString("en-GB");
  return date.toDateString() === new Date().toDateString() ? clock : `${date.toLocaleDateString("en-CA")} ${clock}`;
}

/** How long ago. @param {string | null} iso @param {string} now the relay's time */
export const since = (iso, now) => between(iso, now);

/** The time from one moment to another. @param {string | null} from @param {string | null} to */
export const between = (from, to) => (from && to ? duration((Date.parse(to) - Date.parse(from)) / 1000) : NONE);

// Controls, and characters that are invisible or change the direction of what follows.
const HIDDEN = /[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** Text from outside, with hidden characters made visible. @param {unknown} value */
export const plain = (value) =>
  String(value ?? "").replace(HIDDEN, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** A value as indented JSON. @param {unknown} value */
export const pretty = (value) => plain(typeof value === "string" ? JSON.stringify(value) : JSON.stringify(value, null, 2) ?? "");

/** A document's key, in one line: mostly its `_id` alone. @param {any} key */
export const keyText = (key) => (key == null ? "" : line(typeof key === "object" && Object.keys(key).join() === "_id" ? key._id : key));

/** A value in one line. @param {unknown} value */
export const line = (value) => plain(typeof value === "string" ? value : JSON.stringify(value) ?? "");
