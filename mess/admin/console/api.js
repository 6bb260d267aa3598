// The admin API. Addresses are relative to this file, so that a reverse proxy may add a prefix.

const BASE = new URL("../api/v1/", import.meta.url);
const TIMEOUT = 10_000;
const KEPT = "mess-token";

let token = stored();

function stored() {
  try {
    return sessionStorage.getItem(KEPT) ?? "";
  } catch {
    return "";
  }
}

/** Use a token from now on. @param {string} value @param {boolean} keep until the tab is closed, even if it reloads */
export function setToken(value, keep) {
  token = value;
  try {
    if (keep && value) sessionStorage.setItem(KEPT, value);
    else sessionStorage.removeItem(KEPT);
  } catch {
    // Without storage, the token lasts until the page is left.
  }
}

/** The API refused, or did not answer (status 0). */
export class ApiError extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

/** JSON, with integers beyond 2^53 as they were sent where the browser can. @param {string} text */
export function parse(text) {
  if (!JSON.rawJSON) return JSON.parse(text);
  return JSON.parse(text, (_, value, context) =>
    typeof value === "number" && Number.isInteger(value) && !Number.isSafeInteger(value) ? JSON.rawJSON(context.source) : value,
  );
}

/** The URL of an operation; empty parameters are left out. */
export function address(path, query = {}) {
  const url = new URL(path, BASE);
  for (const [name, value] of Object.entries(query)) if (value != null && value !== "") url.searchParams.set(name, value);
  return url;
}

/** Starts a request; the answer may be an error. */
export async function request(url, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  const response = await fetch(url, { cache: "no-store", ...options, headers });
  if (response.ok) return response;
  const text = await response.text();
  let message = `the relay answers ${response.status}`;
  try {
    message = JSON.parse(text).error ?? message;
  } catch {
    // A proxy's error page is no use here.
  }
  throw new ApiError(message, response.status);
}

async function call(url, options = {}) {
  const signal = AbortSignal.any([AbortSignal.timeout(TIMEOUT), ...(options.signal ? [options.signal] : [])]);
  try {
    const response = await request(url, { ...options, signal });
    return parse(await response.text());
  } catch (error) {
    if (error instanceof ApiError || error.name === "AbortError") throw error;
    throw new ApiError(error.name === "TimeoutError" ? "the relay does not answer within 10 s" : "the relay does not answer", 0);
  }
}

/** @param {string} path relative to the API @param {object} [query] @param {AbortSignal} [signal] */
export const get = (path, query, signal) => call(address(path, query), { signal });

/** @param {string} path relative to the API @param {object} body */
export const post = (path, body) =>
  call(address(path), {
    method: "POST",
    headers: { "Content-Type": "application/json", "mess-request": "1" },
    body: JSON.stringify(body),
  });
