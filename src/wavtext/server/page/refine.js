// Chips and filters: what a search holds besides its words.

import { clipFacts } from "./api.js";
import { byId, el, icon } from "./dom.js";
import { emptyState, FILTERS, isRefined } from "./state.js";

const LABELS = { like: "more like", unlike: "less like", without: "without" };

/** What a sound in the search is called: an upload by the name it had, a clip by its file's. */
async function nameOf(value) {
  if (value.startsWith("upload-")) return sessionStorage.getItem(value) ?? "your sound";
  try {
    return (await clipFacts(Number(value))).name;
  } catch {
    return `sound ${value}`;
  }
}

export function showRefinements(state, change) {
  const chips = [];
  for (const list of Object.keys(LABELS)) {
    for (const value of state[list]) {
      const text = el("span", {}, list === "without" ? value : "…");
      const remove = el("button", { type: "button", "aria-label": `Remove ${LABELS[list]} ${value}`,
        onclick: () => change({ [list]: state[list].filter((other) => other !== value) }) }, icon("close"));
      if (list !== "without") {
        nameOf(value).then((name) => {
          text.textContent = name;
          remove.setAttribute("aria-label", `Remove ${LABELS[list]} ${name}`);
        });
      }
      chips.push(el("li", { class: `chip ${list === "like" ? "" : "minus"}` },
        el("b", {}, LABELS[list]), text, remove));
    }
  }
  byId("chips").replaceChildren(...chips);
  const range = state.min_duration || state.max_duration ? `${state.min_duration}-${state.max_duration}` : "";
  pick("filter-duration", range);
  for (const name of FILTERS) pick(`filter-${name}`, state[name]);
  if (FILTERS.slice(2).some((name) => state[name])) showExtra(true);
  byId("clear").hidden = !isRefined(state);
}

function showExtra(shown) {
  byId("extra-filters").hidden = !shown;
  byId("more-filters").setAttribute("aria-expanded", shown);
}

/** Select a value, adding it when the address names one that the list lacks. */
function pick(id, value) {
  const select = byId(id);
  if (select.options && ![...select.options].some((option) => option.value === value)) {
    select.append(el("option", { value }, value));
  }
  select.value = value;
}

export function showFacets({ folders = [], formats = [] }) {
  fill("filter-folder", folders, (folder) => "\u00a0\u00a0".repeat(folder.split("/").length - 1) + folder.split("/").at(-1));
  fill("filter-format", formats, (format) => format);
}

function fill(id, values, label) {
  const select = byId(id);
  const { value } = select;
  select.replaceChildren(el("option", { value: "" }, "any"),
    ...values.map((each) => el("option", { value: each }, label(each))));
  pick(id, value);
}

export function installRefinements(getState, change) {
  byId("filter-duration").addEventListener("change", (event) => {
    const [least = "", most = ""] = event.target.value.split("-");
    change({ min_duration: least, max_duration: most });
  });
  for (const name of FILTERS) {
    byId(`filter-${name}`).addEventListener("change", (event) => change({ [name]: event.target.value }));
  }
  byId("more-filters").addEventListener("click", () => showExtra(byId("extra-filters").hidden));
  byId("add-without").addEventListener("submit", (event) => {
    event.preventDefault();
    const word = byId("without").value.trim();
    byId("without").value = "";
    const { without } = getState();
    if (word && !without.includes(word)) change({ without: [...without, word].slice(-8) });
  });
  byId("clear").addEventListener("click", () => {
    const { q, view, ...nothing } = emptyState();
    change(nothing);
  });
}
