// What stands where results would: before a search, while the first comes, when there is none,
// when none is good, when something failed.

import { count, el, icon, length } from "./dom.js";

const EXAMPLES = ["rain on a tin roof", "footsteps on gravel", "a door creaks open",
  "a dog barking far away", "glass breaking", "a calm sea", "an engine starting", "a crowd cheering"];
const HEIGHTS = [10, 16, 26, 14, 22, 12, 18, 10, 30, 48, 36, 56, 42, 30, 20, 12, 20, 10, 16, 12, 8];

function bars() {
  const wave = el("div", { class: "blank-wave", "aria-hidden": "true" }, ...HEIGHTS.map(() => el("i")));
  [...wave.children].forEach((bar, i) => { bar.style.height = `${HEIGHTS[i]}px`; });
  return wave;
}

function blank(title, lines, ...more) {
  return el("div", { class: "blank" }, bars(), el("h2", {}, title),
    ...lines.map((line) => el("p", {}, line)), ...more);
}

function suggestions(texts, search) {
  return el("div", { class: "suggestions" },
    ...texts.map((text) => el("button", { type: "button", onclick: () => search(text) }, text)));
}

/** Before anything is asked. */
export function welcome(library, recent, { search, showLibrary }) {
  if (library && !library.clips) {
    return blank("This library is empty", ["Index a folder of sounds, and find them by describing them."],
      el("button", { class: "primary", type: "button", onclick: showLibrary }, "Go to the library"));
  }
  const held = library
    ? `${count(library.clips, "sound")}, ${length(library.duration)}. `
    : "";
  return blank("What should it sound like?",
    [`${held}Describe it, drop a sound anywhere on this page, or record one.`],
    suggestions(recent.length ? [...recent, ...EXAMPLES].slice(0, 8) : EXAMPLES, search));
}

export function nothing(refined, { clear }) {
  return blank("No sound is left",
    [refined ? "The filters leave no sound over." : "The library holds no sound to compare with."],
    refined ? el("button", { class: "primary", type: "button", onclick: clear }, "Clear the filters") : null);
}

export function failed(error, { retry, showLibrary }) {
  if (error.status === 409) {
    return blank("This library speaks another model's language",
      [error.message, "Update it, and searches work again. Every sound is listened to anew."],
      el("button", { class: "primary", type: "button", onclick: showLibrary }, "Go to the library"));
  }
  return blank(error.message, [error.help ?? ""],
    el("button", { class: "primary", type: "button", onclick: retry }, "Try again"));
}

export function skeleton() {
  return el("div", { class: "skeletons", "aria-hidden": "true" },
    ...Array.from({ length: 6 }, () => el("div", { class: "skeleton" })));
}

/** Above results none of which fits. */
export function noGoodMatch() {
  return el("div", { class: "notice", role: "note" }, icon("warning"), el("div", {},
    el("p", {}, el("strong", {}, "Nothing here matches well.")),
    el("p", {}, "These are the nearest sounds. Other words may help: name the thing that sounds, "
      + "what it does, and where.")));
}

/** Above older results, when a newer search failed. */
export function failedBeside(error, { retry }) {
  return el("div", { class: "notice bad", role: "alert" }, icon("warning"),
    el("div", {}, el("p", {}, el("strong", {}, error.message)), el("p", {}, error.help ?? "")),
    el("button", { class: "text", type: "button", onclick: retry }, "Try again"));
}
