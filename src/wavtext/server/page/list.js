// The list of results: its rows, which one is selected, and what is said about them all.

import { failed, failedBeside, noGoodMatch, nothing, skeleton } from "./blank.js";
import { byId, count, names, relevance } from "./dom.js";
import { isRefined } from "./state.js";
import { Row } from "./rows.js";

export const PAGE_SIZE = 20;
export const MOST = 200;

export class List {
  constructor(player, actions) {
    this.player = player;
    this.actions = actions;
    this.rows = [];
    this.selected = null;
    this.rights = {};
    for (const name of ["change", "time"]) player.addEventListener(name, () => this.refresh());
    const redraw = () => this.rows.forEach((row) => row.draw());
    addEventListener("themechange", redraw);
    addEventListener("resize", redraw);
  }

  /** Show an answer of /api/search. */
  show(answer, state, limit) {
    const kept = this.selected?.result.clip_id;
    this.clear();
    this.rows = answer.results.map((result) => new Row(result, this.actions, this.rights));
    byId("results").replaceChildren(...this.rows.map((row) => row.element));
    const [best] = answer.results;
    if (!best) {
      byId("notice").replaceChildren(nothing(isRefined(state), this.actions));
      byId("summary").textContent = "No sounds.";
      return;
    }
    if (answer.good_match === false) byId("notice").replaceChildren(noGoodMatch());
    const fit = relevance(best);
    byId("summary").textContent = `${count(answer.results.length, "sound")}, best first. `
      + `Best: ${names(best.path).name}, ${fit.word} ${fit.text}.`;
    byId("more").hidden = answer.results.length < limit || limit >= MOST;
    this.selected = this.rows.find((row) => row.result.clip_id === kept) ?? null;
    this.refresh();
  }

  showError(error, retry) {
    const actions = { ...this.actions, retry };
    byId("notice").replaceChildren(
      this.rows.length ? failedBeside(error, actions) : failed(error, actions));
    byId("summary").textContent = "";
  }

  showWaiting() {
    if (!this.rows.length) byId("notice").replaceChildren(skeleton());
  }

  showBlank(element) {
    this.clear();
    this.selected = null;
    byId("summary").textContent = "";
    byId("notice").replaceChildren(element);
  }

  clear() {
    this.rows.forEach((row) => row.remove());
    this.rows = [];
    byId("notice").replaceChildren();
    byId("more").hidden = true;
  }

  /** Select a row; plays it when sounds play as they are selected. */
  select(row, { play = this.player.auto, focus = true } = {}) {
    if (!row) return;
    this.selected = row;
    if (focus) row.play.focus({ preventScroll: true });
    row.element.scrollIntoView({ block: "nearest" });
    row.load();
    if (play) this.player.play(row.result);
    else this.player.show(row.result);
    this.refresh();
  }

  /** The row `step` further down; the first when none is selected. */
  step(step) {
    if (!this.rows.length) return;
    const place = this.rows.indexOf(this.selected);
    const next = place < 0 ? (step > 0 ? 0 : -1) : place + step;
    if (next < 0) {
      byId("query").focus();
      return;
    }
    this.select(this.rows[Math.min(next, this.rows.length - 1)]);
  }

  refresh() {
    const { sound, audio, playing } = this.player;
    for (const row of this.rows) {
      const current = sound?.clip_id === row.result.clip_id;
      row.show({ selected: row === this.selected, playing: current && playing,
        at: current && audio.getAttribute("src") ? audio.currentTime : null });
    }
    if (!this.selected && this.rows.length) this.rows[0].play.tabIndex = 0;
  }
}
