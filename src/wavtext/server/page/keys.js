// The keyboard, as in a sample browser.

import { byId } from "./dom.js";

const typing = (target) => target.closest?.("input:not([type=checkbox]):not([type=range]), select, textarea, dialog");

export function installKeys({ list, player, actions, getView }) {
  byId("help").addEventListener("click", () => byId("shortcuts").showModal());
  byId("query").addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown" && getView() === "sounds") {
      event.preventDefault();
      list.select(list.selected ?? list.rows[0]);
    } else if (event.key === "Escape") {
      player.stop();
    }
  });
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (event.target.id === "map-canvas" && event.key.startsWith("Arrow")) return;
    const run = shortcut(event, { list, player, actions, getView });
    if (!run) return;
    event.preventDefault();
    run();
  });
}

function shortcut(event, { list, player, actions, getView }) {
  const { key, target } = event;
  const onControl = target.closest?.("button, a, input, [role=application]");
  const onRow = target.classList?.contains("play");
  const row = list.selected;
  const sounds = getView() === "sounds";
  switch (key) {
    case "/": return () => { byId("query").focus(); byId("query").select(); };
    case "?": return () => byId("shortcuts").showModal();
    case "Escape": return () => { player.stop(); byId("query").focus(); };
    case "ArrowDown": return sounds && (() => list.step(1));
    case "ArrowUp": return sounds && (() => list.step(-1));
    case "ArrowLeft": return sounds && target.type !== "range" && (() => player.jump(-1));
    case "ArrowRight": return sounds && target.type !== "range" && (() => player.jump(1));
    case " ": return (!onControl || onRow) && (() => (row && !player.sound ? player.play(row.result) : player.toggle()));
    case "Enter": return (!onControl || onRow) && row && (() => player.play(row.result));
    case "m": case "M": return sounds && row && (() => actions.more(row));
    case "l": case "L": return sounds && row && (() => actions.less(row));
    case "c": case "C": return sounds && row && (() => actions.copy(row));
    case "r": case "R": return sounds && row && (() => actions.reveal(row));
    default: return null;
  }
}
