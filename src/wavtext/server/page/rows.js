// A result's row: play, name, outline with the match, length, relevance, what can be done with it.

import { cutAddress, fileAddress } from "./api.js";
import { clock, count, el, icon, length, names, playIcons, relevance, showPlaying } from "./dom.js";
import { drawWave, outlineOf } from "./waveform.js";

const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) if (isIntersecting) target.row.load();
}, { rootMargin: "200px" });

/** The heat along time: the server's when it gives it, else the matching windows. */
export const heatOf = (result) => (result.heat?.length ? result.heat : result.windows);

export class Row {
  constructor(result, actions, rights) {
    this.result = result;
    this.actions = actions;
    this.outline = null;
    this.at = null;
    const { name, folder } = names(result.path);
    const fit = relevance(result);
    const span = `${clock(result.start)} to ${clock(result.end)}`;
    this.play = el("button", { class: "play", type: "button", tabindex: "-1",
      "aria-label": `Play ${name}, ${fit.word} ${fit.text}, from ${span}`,
      onclick: () => actions.play(this) }, ...playIcons());
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.grip = el("div", { class: "grip", draggable: "true",
      title: `Match: ${span}. Drag it out to take only this part.`,
      ondragstart: (event) => this.#dragPart(event) });
    this.wave = el("div", { class: "wave", onclick: (event) => this.#seek(event) }, this.canvas, this.grip);
    this.meter = el("i");
    this.meter.style.width = `${Math.round(fit.share * 100)}%`;
    this.element = el("li", { class: "row", "data-id": result.clip_id, draggable: "true",
      ondragstart: (event) => this.#dragFile(event),
      onpointerdown: (event) => {
        if (!event.target.closest("button, a")) actions.select(this);
      } },
    this.play,
    el("div", { class: "title", title: `${result.path}\nDrag it to a folder or a track.` },
      el("strong", {}, ...marked(name, result.matched)), el("span", {}, folder + copies(result))),
    this.wave,
    el("span", { class: "duration numbers" }, length(result.duration)),
    el("div", { class: "relevance", "data-word": fit.word, title: why(result) },
      el("b", {}, fit.word, el("span", { class: "numbers" }, fit.text)),
      el("div", { class: "meter", "aria-hidden": "true" }, this.meter)),
    this.#buttons(rights, name));
    this.element.row = this;
    seen.observe(this.element);
  }

  #buttons(rights, name) {
    const button = (label, picture, action, extra = "") =>
      el("button", { class: `quiet ${extra}`, type: "button", title: label,
        "aria-label": `${label}: ${name}`, onclick: () => action(this) }, icon(picture));
    const { result } = this;
    return el("div", { class: "actions" },
      button("More like this", "more-like", this.actions.more),
      button("Less like this", "less-like", this.actions.less),
      button("Copy the path", "copy", this.actions.copy, "wide"),
      rights.can_reveal ? button("Show in the file manager", "folder", this.actions.reveal, "wide") : null,
      el("a", { class: "quiet", href: fileAddress(result.clip_id), download: name, draggable: "false",
        title: "Save the file", "aria-label": `Save the file: ${name}` }, icon("save")),
      el("a", { class: "quiet wide", href: cutAddress(result.clip_id, result.start, result.end),
        download: "", draggable: "false", title: "Save the matching part",
        "aria-label": `Save the matching part: ${name}` }, icon("cut")));
  }

  /** Ask for the outline, once. */
  load() {
    seen.unobserve(this.element);
    outlineOf(this.result.clip_id).then((outline) => {
      this.outline = outline;
      const { start, end } = this.result;
      const total = outline.duration || 1;
      this.grip.style.left = `${(100 * start) / total}%`;
      this.grip.style.width = `${(100 * Math.min(end, total) - 100 * start) / total}%`;
      this.draw();
    }, () => this.wave.setAttribute("title", "The file cannot be read."));
  }

  draw() {
    drawWave(this.canvas, { outline: this.outline, windows: this.result.windows,
      heat: heatOf(this.result), at: this.at });
  }

  /** Show it as selected, playing, and how far (seconds, null when it is not the one). */
  show({ selected, playing, at }) {
    this.element.classList.toggle("selected", selected);
    if (selected) this.element.setAttribute("aria-current", "true");
    else this.element.removeAttribute("aria-current");
    this.play.tabIndex = selected ? 0 : -1;
    showPlaying(this.play, playing);
    if (this.at !== at) {
      this.at = at;
      this.draw();
    }
  }

  remove() {
    seen.unobserve(this.element);
    this.element.remove();
  }

  #seek(event) {
    const { left, width } = this.wave.getBoundingClientRect();
    const share = (event.clientX - left) / width;
    this.actions.play(this, Math.max(0, share) * (this.outline?.duration ?? this.result.duration));
  }

  #dragFile(event) {
    drag(event, names(this.result.path).name, fileAddress(this.result.clip_id), this.result.path);
  }

  #dragPart(event) {
    event.stopPropagation();
    const { clip_id: id, path, start, end } = this.result;
    const stem = names(path).name.replace(/\.[^.]*$/, "");
    drag(event, `${stem} ${start.toFixed(2)}-${end.toFixed(2)}.wav`, cutAddress(id, start, end), path);
  }
}

/** What a drop elsewhere gets: a file to download (Chromium), an address, the path. */
function drag(event, name, address, path) {
  const data = event.dataTransfer;
  data.effectAllowed = "copy";
  data.setData("DownloadURL", `application/octet-stream:${name.replaceAll(":", "_")}:${address}`);
  data.setData("text/uri-list", address);
  data.setData("text/plain", path);
  data.setData("application/x-wavtext", "1");
}

/** The name with the query's words marked. */
function marked(name, words = []) {
  if (!words.length) return [name];
  const escaped = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return name.split(new RegExp(`(${escaped.join("|")})`, "i")).filter(Boolean)
    .map((part) => (words.some((word) => word.toLowerCase() === part.toLowerCase())
      ? el("mark", {}, part) : part));
}

function copies({ duplicates = [] }) {
  return duplicates.length ? ` · and ${count(duplicates.length, "copy", "copies")}` : "";
}

function why(result) {
  const lines = [`Cosine ${result.score.toFixed(3)}`];
  const words = Object.entries(result.why ?? {});
  if (words.length) {
    lines.push(`Carried by ${words.map(([word, share]) => `${word} ${Math.round(share * 100)} %`).join(", ")}`);
  }
  if (result.duplicates?.length) lines.push("These sound the same:", ...result.duplicates);
  return lines.join("\n");
}
