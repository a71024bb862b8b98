// The map: near sounds sound alike. Hover plays, a click opens, drag and wheel move about.

import { clipFacts, get } from "./api.js";
import { byId, colour, el, length } from "./dom.js";
import { Nearest, Plot } from "./map-plot.js";
import { drawWave, outlineOf } from "./waveform.js";

const HUES = [40, 220, 150, 330, 190, 90, 270, 10, 60, 300];
const GREY = { light: { rgb: [0.5, 0.5, 0.55], css: "rgb(127 127 140)" },
  dark: { rgb: [0.6, 0.62, 0.68], css: "rgb(153 158 173)" } }; // folders beyond the tenth
const REACH = 12; // px around the pointer
const REST = 90; // ms the pointer rests before a sound plays

export class MapView {
  constructor(player, { moreLike }) {
    this.player = player;
    this.moreLike = moreLike;
    this.canvas = byId("map-canvas");
    this.data = null;
    this.marked = new Set();
    this.current = -1;
    this.view = { x: 0, y: 0, zoom: 300 };
    this.visible = false;
    this.#listen();
  }

  show(visible) {
    this.visible = visible;
    if (!visible) return;
    if (this.data) this.#draw();
    else this.#load();
  }

  /** The library changed: make the map again when it is next looked at. */
  forget() {
    this.data = null;
    if (this.visible) this.#load();
  }

  /** Light up the clips that a search found. */
  mark(ids) {
    this.marked = new Set(ids);
    if (this.data) this.#tint();
  }

  async #load() {
    if (this.loading) return;
    this.loading = true;
    try {
      for (;;) {
        const found = await get("/api/map");
        if (found.state === "ready") {
          this.#take(found);
          return;
        }
        this.#say("Laying out the map …", found.progress);
        await new Promise((resolve) => { setTimeout(resolve, 500); });
      }
    } catch (error) {
      this.#say(error.message);
    } finally {
      this.loading = false;
    }
  }

  #take(found) {
    this.data = found;
    const places = new Float32Array(found.x.length * 2);
    for (let i = 0; i < found.x.length; i += 1) {
      places[2 * i] = found.x[i] / 32767.5 - 1;
      places[2 * i + 1] = found.y[i] / 32767.5 - 1;
    }
    this.plot = new Plot(this.canvas, places);
    this.nearest = new Nearest(places);
    this.current = -1;
    byId("map-card").hidden = true;
    if (!found.x.length) this.#say("There is nothing to show yet: index a folder first.");
    else byId("map-state").replaceChildren();
    this.#legend();
    this.#tint();
    this.#fit();
  }

  #say(text, progress) {
    byId("map-state").replaceChildren(el("p", {}, text), progress === undefined ? ""
      : el("progress", { max: 1, value: progress, "aria-label": text }));
  }

  #legend() {
    const { groups } = this.data;
    byId("map-legend").replaceChildren(...(groups.length < 2 ? [] : groups.map((name, i) => {
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      for (const [key, value] of [["cx", 5], ["cy", 5], ["r", 5], ["fill", hue(i).css]]) dot.setAttribute(key, value);
      svg.setAttribute("viewBox", "0 0 10 10");
      svg.setAttribute("aria-hidden", "true");
      svg.append(dot);
      return el("li", {}, svg, name || "top folder");
    })));
  }

  #tint() {
    const { clip_ids: ids, group } = this.data;
    const tints = new Float32Array(ids.length * 4);
    const searching = this.marked.size > 0;
    for (let i = 0; i < ids.length; i += 1) {
      const lit = this.marked.has(ids[i]) || i === this.current;
      tints.set(i === this.current ? contrast() : hue(group[i]).rgb, 4 * i);
      tints[4 * i + 3] = lit ? 1 : searching ? 0.22 : 0.75;
    }
    this.plot.setTints(tints);
    this.#draw();
  }

  #draw() {
    if (!this.visible || !this.plot || this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      this.plot.draw(this.view);
    });
  }

  #fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.view = { x: 0, y: 0, zoom: Math.max(80, Math.min(width, height - 120) / 2.15) };
    this.#draw();
  }

  #zoom(factor, px = this.canvas.clientWidth / 2, py = this.canvas.clientHeight / 2) {
    const before = this.#place(px, py);
    this.view.zoom = Math.max(60, Math.min(60_000, this.view.zoom * factor));
    const after = this.#place(px, py);
    this.view.x += before.x - after.x;
    this.view.y += before.y - after.y;
    this.#draw();
  }

  /** Pixels of the canvas -> the map's own coordinates. */
  #place(px, py) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    return { x: (px - width / 2) / this.view.zoom + this.view.x,
      y: (py - height / 2) / this.view.zoom + this.view.y };
  }

  async #go(index, { play = true } = {}) {
    if (index < 0 || index === this.current) return;
    this.current = index;
    this.#tint();
    const id = this.data.clip_ids[index];
    let facts;
    try {
      facts = await clipFacts(id);
    } catch {
      return;
    }
    if (this.data?.clip_ids[this.current] !== id) return;
    const sound = { clip_id: id, path: facts.path, start: 0, end: 0, duration: facts.duration,
      windows: [], heat: [] };
    if (play) this.player.play(sound);
    else this.player.show(sound);
    this.#card(facts);
  }

  #card(facts) {
    const wave = el("canvas", { "aria-hidden": "true" });
    byId("map-card").hidden = false;
    byId("map-card").replaceChildren(el("strong", { role: "status" }, facts.name),
      el("span", {}, `${facts.folder === "." ? "" : `${facts.folder} · `}${length(facts.duration)}`), wave,
      el("button", { class: "text", type: "button", onclick: () => this.moreLike(facts.clip_id) }, "More like this"));
    outlineOf(facts.clip_id).then((outline) => { if (wave.isConnected) drawWave(wave, { outline }); }, () => {});
  }

  #listen() {
    const { canvas } = this;
    const pointers = new Map();
    let [moved, rest, spread] = [0, 0, 0];
    canvas.addEventListener("pointerdown", (event) => {
      canvas.setPointerCapture(event.pointerId);
      pointers.set(event.pointerId, event);
      moved = 0;
    });
    canvas.addEventListener("pointermove", (event) => {
      if (!this.data) return;
      const before = pointers.get(event.pointerId);
      if (!before) {
        clearTimeout(rest);
        if (!byId("map-hover").checked) return;
        rest = setTimeout(() => this.#go(this.#at(event)), REST);
        return;
      }
      pointers.set(event.pointerId, event);
      if (pointers.size === 2) {
        const [a, b] = [...pointers.values()];
        const now = Math.hypot(a.offsetX - b.offsetX, a.offsetY - b.offsetY);
        if (spread) this.#zoom(now / spread, (a.offsetX + b.offsetX) / 2, (a.offsetY + b.offsetY) / 2);
        spread = now;
        moved = 99;
        return;
      }
      this.view.x -= (event.offsetX - before.offsetX) / this.view.zoom;
      this.view.y -= (event.offsetY - before.offsetY) / this.view.zoom;
      moved += Math.abs(event.offsetX - before.offsetX) + Math.abs(event.offsetY - before.offsetY);
      canvas.classList.toggle("moving", moved > 4);
      this.#draw();
    });
    const end = (event) => {
      const tapped = pointers.delete(event.pointerId) && moved < 5 && event.type === "pointerup";
      spread = 0;
      canvas.classList.remove("moving");
      if (tapped && this.data) {
        this.current = -1;
        this.#go(this.#at(event));
      }
    };
    canvas.addEventListener("pointerup", end);
    canvas.addEventListener("pointercancel", end);
    canvas.addEventListener("pointerleave", () => clearTimeout(rest));
    canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.#zoom(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
    }, { passive: false });
    canvas.addEventListener("keydown", (event) => this.#key(event));
    byId("map-in").addEventListener("click", () => this.#zoom(1.5));
    byId("map-out").addEventListener("click", () => this.#zoom(1 / 1.5));
    byId("map-fit").addEventListener("click", () => this.#fit());
    addEventListener("resize", () => this.#draw());
    addEventListener("themechange", () => {
      if (!this.data) return;
      this.#legend();
      this.#tint();
    });
  }

  #at(event) {
    const { x, y } = this.#place(event.offsetX, event.offsetY);
    return this.nearest.find(x, y, REACH / this.view.zoom);
  }

  #key(event) {
    if (!this.data?.x.length) return;
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const way = ways[event.key];
    if (way) {
      const next = this.current < 0 ? 0 : this.nearest.towards(this.current, ...way);
      this.#go(next);
    } else if (event.key === "+" || event.key === "=") this.#zoom(1.5);
    else if (event.key === "-") this.#zoom(1 / 1.5);
    else if (event.key === " ") this.player.toggle();
    else if (event.key === "Enter" && this.current >= 0) this.moreLike(this.data.clip_ids[this.current]);
    else return;
    event.preventDefault();
  }
}

function hue(group) {
  const light = document.documentElement.dataset.theme === "light";
  if (group === HUES.length) return light ? GREY.light : GREY.dark;
  const [saturation, lightness] = light ? [0.7, 0.42] : [0.85, 0.68];
  const h = HUES[group];
  const chroma = saturation * Math.min(lightness, 1 - lightness);
  const channel = (n) => {
    const k = (n + h / 30) % 12;
    return lightness - chroma * Math.max(-1, Math.min(k - 3, 9 - k, 1));
  };
  const rgb = [channel(0), channel(8), channel(4)];
  return { rgb, css: `hsl(${h} ${saturation * 100}% ${lightness * 100}%)` };
}

function contrast() {
  const hex = colour("--text");
  return [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255);
}
