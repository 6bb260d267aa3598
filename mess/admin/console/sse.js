// Server-sent events over fetch(), since EventSource cannot send a token.
import { request } from "./api.js";

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 15_000;
const LONGEST_LINE = 32 << 20;

/** Splits a text that arrives in pieces into events. */
export class Parser {
  /** @param {(event: {type: string, data: string}) => void} onEvent */
  constructor(onEvent) {
    this.onEvent = onEvent;
    this.rest = "";
    this.type = "";
    this.data = [];
  }

  /** @param {string} text */
  push(text) {
    const lines = (this.rest + text).split(/\r\n|\n/);
    this.rest = lines.pop() ?? "";
    if (this.rest.length > LONGEST_LINE) throw new Error("an event is too large");
    for (const line of lines) this.#line(line);
  }

  #line(line) {
    if (line === "") {
      if (this.data.length) this.onEvent({ type: this.type || "message", data: this.data.join("\n") });
      this.type = "";
      this.data = [];
    } else if (line.startsWith("event:")) this.type = line.slice(6).trim();
    else if (line.startsWith("data:")) this.data.push(line.slice(line[5] === " " ? 6 : 5));
  }
}

/**
 * Reads events until it is ended, and connects again when the connection ends.
 * @param {URL} url
 * @param {{onEvent: (event: {type: string, data: string}) => void, onState: (state: string, error?: Error) => void}} to
 * @returns {() => void} ends it
 */
export function listen(url, { onEvent, onState }) {
  const controller = new AbortController();
  let failures = 0;
  let timer = 0;
  const connect = async () => {
    try {
      onState("connecting");
      const response = await request(url, { signal: controller.signal, headers: { Accept: "text/event-stream" } });
      onState("live");
      const parser = new Parser(onEvent);
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
        failures = 0;
        parser.push(piece.value);
      }
      again();
    } catch (error) {
      if (!controller.signal.aborted) again(error);
    }
  };
  const again = (error) => {
    if (controller.signal.aborted) return;
    failures += 1;
    const final = error?.status >= 400 && error.status < 500;
    onState(final ? "refused" : "lost", error);
    if (!final) timer = setTimeout(connect, Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (failures - 1)));
  };
  connect();
  return () => {
    controller.abort();
    clearTimeout(timer);
  };
}
