// Which view is shown, with which filters: the part of the address behind the #, which can be shared.
import { useEffect, useState } from "./html.js";

/** @returns {{view: string, query: Record<string, string>}} */
function current() {
  const [path, search] = location.hash.replace(/^#\/?/, "").split("?", 2);
  return { view: path, query: Object.fromEntries(new URLSearchParams(search ?? "")) };
}

/** The address of a view; empty filters are left out. */
export function link(view, query = {}) {
  const search = new URLSearchParams(Object.entries(query).filter(([, value]) => value != null && value !== ""));
  return `#/${view}${search.size ? `?${search}` : ""}`;
}

/** Show a view. @param {boolean} replace without a step in the browser's history, as while typing */
export function go(view, query = {}, replace = false) {
  if (!replace) {
    location.hash = link(view, query);
    return;
  }
  history.replaceState(null, "", link(view, query));
  dispatchEvent(new HashChangeEvent("hashchange"));
}

export function useRoute() {
  const [route, setRoute] = useState(current);
  useEffect(() => {
    const changed = () => setRoute(current());
    addEventListener("hashchange", changed);
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route;
}
