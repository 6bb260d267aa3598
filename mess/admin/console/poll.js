// Asks for the status: every second while the page is seen, every ten seconds otherwise, less and less while it fails.
import { useEffect, useState } from "./html.js";
import { get } from "./api.js";

const VISIBLE = 1000;
const HIDDEN = 10_000;
const LONGEST = 15_000;

const usual = () => (document.hidden ? HIDDEN : VISIBLE);

/** Keeps a model up to date. @returns {() => void} asks at once */
export function follow(model) {
  let timer = 0;
  let failures = 0;
  let asking = false;

  async function ask() {
    clearTimeout(timer);
    if (asking) return;
    asking = true;
    let pause = usual();
    try {
      const status = await get("status");
      failures = 0;
      model.accept(status);
    } catch (error) {
      failures += 1;
      pause = Math.max(pause, Math.min(LONGEST, VISIBLE * 2 ** (failures - 1)));
      model.fail(error.message, Date.now() + pause);
    } finally {
      asking = false;
    }
    timer = setTimeout(ask, pause);
  }

  document.addEventListener("visibilitychange", () => document.hidden || ask());
  ask();
  return ask;
}

/**
 * An answer of the API that is asked for again and again, and when `path` or `query` changes.
 * @returns {{data: any, error: Error | null, reload: () => void}} data of the last answer, even if a later one failed
 */
export function useAnswer(path, { query = {}, seconds = 0, when = true } = {}) {
  const [answer, setAnswer] = useState({ data: null, error: null, key: "" });
  const [round, setRound] = useState(0);
  const key = `${path} ${JSON.stringify(query)}`;
  useEffect(() => {
    if (!when) return undefined;
    const controller = new AbortController();
    let timer = 0;
    const ask = async () => {
      try {
        const data = document.hidden && seconds ? undefined : await get(path, query, controller.signal);
        if (data !== undefined && !controller.signal.aborted) setAnswer({ data, error: null, key });
      } catch (error) {
        if (!controller.signal.aborted) setAnswer((old) => ({ data: old.key === key ? old.data : null, error, key }));
      }
      if (seconds && !controller.signal.aborted) timer = setTimeout(ask, seconds * 1000);
    };
    ask();
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [key, seconds, when, round]);
  return { data: answer.data, error: answer.error, stale: answer.key !== key, reload: () => setRound((n) => n + 1) };
}
