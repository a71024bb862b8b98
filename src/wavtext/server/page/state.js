// The search as it stands in the address: everything that can be shared, bookmarked and gone back to.

const LISTS = ["like", "unlike", "without"];
export const FILTERS = ["folder", "format", "min_sample_rate", "channels", "after", "before",
  "licence", "tag"];
const SINGLES = ["q", "min_duration", "max_duration", ...FILTERS];
export const VIEWS = ["sounds", "map", "library"];

export function emptyState() {
  const singles = Object.fromEntries(SINGLES.map((name) => [name, ""]));
  return { ...singles, like: [], unlike: [], without: [], view: "sounds" };
}

export function readAddress() {
  const found = new URLSearchParams(location.search);
  const state = emptyState();
  for (const name of SINGLES) state[name] = (found.get(name) ?? "").slice(0, 500);
  for (const name of LISTS) state[name] = found.getAll(name).slice(0, 8);
  const view = found.get("view");
  if (VIEWS.includes(view)) state.view = view;
  return state;
}

function parameters(state) {
  const result = new URLSearchParams();
  for (const name of SINGLES) if (state[name].trim()) result.set(name, state[name].trim());
  for (const name of LISTS) for (const value of state[name]) result.append(name, value);
  return result;
}

/** What /api/search is asked; null when there is nothing to ask. */
export function searchQuery(state, limit) {
  if (!state.q.trim() && !state.like.length) return null;
  const result = parameters(state);
  result.set("limit", limit);
  result.set("explain", "true");
  return result;
}

/** Put the state into the address: a new entry in the history, or in place of the present one. */
export function writeAddress(state, { replace = false } = {}) {
  const result = parameters(state);
  if (state.view !== "sounds") result.set("view", state.view);
  const address = result.size ? `/?${result}` : "/";
  if (address === location.pathname + location.search) return;
  history[replace ? "replaceState" : "pushState"](null, "", address);
}

export const isRefined = (state) =>
  LISTS.some((name) => state[name].length) || SINGLES.slice(1).some((name) => state[name]);
