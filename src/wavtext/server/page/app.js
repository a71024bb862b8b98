// The page: what is asked stands in the address; this asks it and shows the answer.

import { get, getSession, send } from "./api.js";
import { welcome } from "./blank.js";
import { byId, names, toast } from "./dom.js";
import { installKeys } from "./keys.js";
import { LibraryView } from "./library.js";
import { List, MOST, PAGE_SIZE } from "./list.js";
import { MapView } from "./map.js";
import { Player } from "./player.js";
import { installRefinements, showFacets, showRefinements } from "./refine.js";
import { installDrop, installRecorder, uploadSound } from "./sound-input.js";
import { emptyState, readAddress, searchQuery, writeAddress } from "./state.js";

const PAUSE = 140; // ms between the last key and the search
const SETTLED = 1500; // ms after which a search is worth an entry in the history

let state = readAddress();
let limit = PAGE_SIZE;
let waiting = 0;
let asking = null;
let answeredAt = 0;
let session = { can_reveal: false, max_upload_bytes: 64 * 2 ** 20 };
let library = null;

const player = new Player();
const actions = {
  play: (row, from) => {
    const same = player.sound?.clip_id === row.result.clip_id;
    if (from === undefined && same && player.playing) player.toggle();
    else player.play(row.result, from);
    list.select(row, { play: false });
  },
  select: (row) => { if (row !== list.selected) list.select(row, { focus: false }); },
  more: (row) => moreLike(row.result.clip_id),
  less: (row) => {
    const id = String(row.result.clip_id);
    if (!state.unlike.includes(id)) change({ unlike: [...state.unlike, id].slice(-8) });
  },
  copy: async (row) => {
    try {
      await navigator.clipboard.writeText(row.result.path);
      toast("The path is copied.");
    } catch {
      toast(row.result.path);
    }
  },
  reveal: async (row) => {
    if (!session.can_reveal) return;
    try {
      await send("POST", `/api/clips/${row.result.clip_id}/reveal`);
      toast(`Showing ${names(row.result.path).name}.`);
    } catch (error) {
      toast(error.message);
    }
  },
  showLibrary: () => change({ view: "library" }),
  clear: () => change({ ...emptyState(), q: state.q, view: state.view }),
};
const list = new List(player, actions);
const map = new MapView(player, { moreLike });
const libraryView = new LibraryView(() => { loadLibrary(); map.forget(); });

function moreLike(id) {
  change({ q: "", like: [String(id)], unlike: [], view: "sounds" });
}

/** Change the search or the view, and show it. */
function change(part, { typed = false } = {}) {
  const quick = typed && performance.now() - answeredAt < SETTLED;
  state = { ...state, ...part };
  limit = PAGE_SIZE;
  writeAddress(state, { replace: quick });
  show({ typed });
}

function show({ typed = false } = {}) {
  if (byId("query").value !== state.q) byId("query").value = state.q;
  document.title = state.q ? `${state.q} · wavtext` : "wavtext";
  document.body.dataset.view = state.view;
  for (const view of ["sounds", "map", "library"]) byId(view).hidden = view !== state.view;
  for (const button of document.querySelectorAll("[data-show]")) {
    if (button.dataset.show === state.view) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  showRefinements(state, change);
  map.show(state.view === "map");
  libraryView.show(state.view === "library");
  clearTimeout(waiting);
  if (typed) waiting = setTimeout(search, PAUSE);
  else search();
}

async function search() {
  asking?.abort();
  const query = searchQuery(state, limit);
  if (!query) {
    document.body.classList.remove("searching", "stale");
    list.showBlank(welcome(library, recent(), {
      search: (text) => change({ q: text }),
      showLibrary: actions.showLibrary,
    }));
    map.mark([]);
    return;
  }
  const mine = new AbortController();
  asking = mine;
  document.body.classList.add("searching", "stale");
  list.showWaiting();
  try {
    const answer = await get(`/api/search?${query}`, { signal: mine.signal });
    if (mine !== asking) return;
    list.show(answer, state, limit);
    map.mark(answer.results.map((result) => result.clip_id));
    answeredAt = performance.now();
    remember(state.q);
  } catch (error) {
    if (error.name === "AbortError" || mine !== asking) return;
    if (error.status === 410) dropLostSounds();
    if (error.status === 429) waiting = setTimeout(search, 1200);
    else list.showError(error, search);
  } finally {
    if (mine === asking) document.body.classList.remove("searching", "stale");
  }
}

/** Uploads are kept for an hour: without them, the rest of the search goes on. */
function dropLostSounds() {
  const clips = (values) => values.filter((value) => !value.startsWith("upload-"));
  state = { ...state, like: clips(state.like), unlike: clips(state.unlike) };
  writeAddress(state, { replace: true });
  showRefinements(state, change);
  toast("The sound you searched with is no longer kept. Drop it again.");
}

function recent() {
  try {
    return JSON.parse(localStorage.getItem("recent") ?? "[]").slice(0, 4);
  } catch {
    return [];
  }
}

let remembering = 0;

/** Keep a query that stood for a while. */
function remember(text) {
  clearTimeout(remembering);
  const query = text.trim();
  if (query.length < 3) return;
  remembering = setTimeout(() => {
    const others = recent().filter((other) => other !== query);
    localStorage.setItem("recent", JSON.stringify([query, ...others].slice(0, 4)));
  }, SETTLED);
}

function takeSound(file, name) {
  uploadSound(file, name, session, (answer) => {
    sessionStorage.setItem(answer.upload_id, name);
    change({ q: "", like: [answer.upload_id], unlike: [], view: "sounds" });
  });
}

async function loadLibrary() {
  try {
    library = await get("/api/library");
  } catch {
    return;
  }
  showFacets(library.facets);
  showRefinements(state, change);
  if (!searchQuery(state, limit)) search();
}

byId("search").addEventListener("submit", (event) => {
  event.preventDefault();
  const q = byId("query").value;
  if (state.view === "library" || q !== state.q) change({ q, view: state.view === "map" ? "map" : "sounds" });
  else search();
});
byId("query").addEventListener("input", (event) => {
  change({ q: event.target.value, view: state.view === "map" ? "map" : "sounds" }, { typed: true });
});
byId("more").addEventListener("click", () => {
  limit = Math.min(limit + 40, MOST);
  search();
});
byId("previous").addEventListener("click", () => list.step(-1));
byId("next").addEventListener("click", () => list.step(1));
for (const button of document.querySelectorAll("[data-show]")) {
  button.addEventListener("click", () => change({ view: button.dataset.show }));
}
addEventListener("popstate", () => {
  state = readAddress();
  limit = PAGE_SIZE;
  show();
});

installRefinements(() => state, change);
installDrop(takeSound);
installRecorder(takeSound);
installKeys({ list, player, actions, getView: () => state.view });
getSession().then((found) => {
  session = found;
  list.rights = found;
  if (list.rows.length) search();
}, () => {});
show();
loadLibrary();
if (!matchMedia("(pointer: coarse)").matches) byId("query").focus();
