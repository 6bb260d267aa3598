// What the page knows of the relay. Bounded: the last answer, a rate for each part in it, and ten minutes of history.

const POINTS = 600;
const SMOOTHING_SECONDS = 2;

/** Time, throughput and lag of the last answers, in a ring. */
export class History {
  constructor(points = POINTS) {
    this.rows = [0, 1, 2].map(() => new Float64Array(points));
    this.length = 0;
    this.next = 0;
  }

  /** @param {number} time seconds since the epoch @param {number | null} rate @param {number | null} lag */
  add(time, rate, lag) {
    [time, rate, lag].forEach((value, row) => (this.rows[row][this.next] = value ?? NaN));
    this.next = (this.next + 1) % this.rows[0].length;
    this.length = Math.min(this.length + 1, this.rows[0].length);
  }

  /** Oldest first; what is unknown is null. */
  series() {
    const points = this.rows[0].length;
    const first = (this.next - this.length + points) % points;
    return this.rows.map((row) =>
      Array.from({ length: this.length }, (_, i) => row[(first + i) % points]).map((v) => (Number.isNaN(v) ? null : v)),
    );
  }
}

/** The counts of a status that rates are made of, by part. @returns {Map<string, number[]>} */
function counts(status) {
  const found = new Map([["", [status.done]]]);
  for (const stream of status.streams) found.set(streamKey(stream), [stream.read]);
  for (const pipeline of status.pipelines) {
    found.set(pipelineKey(pipeline), [pipeline.done]);
    for (const step of pipeline.steps)
      found.set(stepKey(pipeline, step), [step.delivered, step.failed, step.seconds, step.attempts]);
  }
  return found;
}

export class Model {
  constructor() {
    /** @type {any} the last answer of /status */
    this.status = null;
    /** Why the relay cannot be reached, since when, and when it is asked again (ms); null while it answers. */
    this.lost = null;
    this.history = new History();
    this.counts = new Map();
    this.rates = new Map();
    this.listeners = new Set();
  }

  /** Takes an answer of /status. */
  accept(status) {
    const before = this.status;
    const next = counts(status);
    const seconds = before ? (Date.parse(status.time) - Date.parse(before.time)) / 1000 : 0;
    const same = before?.instance.id === status.instance.id;
    if (same && seconds < 0) {
      // The relay's clock was set back: nothing can be computed across that.
      this.history = new History();
      this.counts = next;
    }
    if (!same || seconds > 0) {
      this.rates = same ? this.#rates(next, seconds) : new Map();
      this.counts = next;
      const lags = status.streams.map((stream) => stream.lag_seconds).filter((lag) => lag != null);
      this.history.add(Date.parse(status.time) / 1000, this.rate(), lags.length ? Math.max(...lags) : null);
    }
    this.status = status;
    this.lost = null;
    this.#changed();
  }

  /** The relay did not answer. @param {string} reason @param {number} retry when it is asked again, in ms */
  fail(reason, retry) {
    this.lost = { reason, retry, since: this.lost?.since ?? Date.now(), failures: (this.lost?.failures ?? 0) + 1 };
    this.#changed();
  }

  /** Events per second of a part; of the whole relay without one. Null until two answers are there. */
  rate(part = "", index = 0) {
    return this.rates.get(part)?.[index] ?? null;
  }

  /** How long one call of a step takes, in seconds, over the last answers. */
  latency(part) {
    const [, , seconds, attempts] = this.rates.get(part) ?? [];
    return attempts > 0.01 ? seconds / attempts : null;
  }

  /** @param {() => void} listener @returns {() => void} ends it */
  listen(listener) {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  #rates(next, seconds) {
    const weight = 1 - Math.exp(-seconds / SMOOTHING_SECONDS);
    const found = new Map();
    for (const [part, values] of next) {
      const old = this.counts.get(part);
      if (!old) continue;
      const known = this.rates.get(part);
      found.set(
        part,
        values.map((value, i) => {
          const now = Math.max(0, value - old[i]) / seconds;
          return known ? known[i] + weight * (now - known[i]) : now;
        }),
      );
    }
    return found;
  }

  #changed() {
    for (const listener of this.listeners) listener();
  }
}

// Names may contain spaces, but no line ends.
export const streamKey = (stream) => `stream\n${stream.name}`;
export const pipelineKey = (pipeline) => `pipeline\n${pipeline.name}`;
export const stepKey = (pipeline, step) => `${pipelineKey(pipeline)}\n${step.name}`;
