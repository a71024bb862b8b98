// One sound at a time: plays a clip from its match, tells who listens how far it is.

import { audioAddress } from "./api.js";
import { byId, clock, names, showPlaying, toast } from "./dom.js";
import { drawWave, outlineOf } from "./waveform.js";

export class Player extends EventTarget {
  constructor() {
    super();
    this.audio = new Audio();
    this.audio.preload = "auto";
    this.sound = null; // {clip_id, path, start, end, duration, windows, heat}
    this.outline = null;
    byId("auto").checked = localStorage.getItem("auto") !== "no";
    byId("auto").addEventListener("change", (event) => {
      localStorage.setItem("auto", event.target.checked ? "yes" : "no");
    });
    byId("volume").addEventListener("input", (event) => { this.audio.volume = event.target.value; });
    byId("play").addEventListener("click", () => this.toggle());
    byId("playing-wave").addEventListener("click", (event) => {
      const { left, width } = event.target.getBoundingClientRect();
      if (this.sound) this.play(this.sound, ((event.clientX - left) / width) * this.sound.duration);
    });
    for (const name of ["play", "pause", "ended"]) {
      this.audio.addEventListener(name, () => this.#changed());
    }
    this.audio.addEventListener("error", () => {
      if (this.audio.getAttribute("src")) toast("This sound cannot be played.");
    });
    addEventListener("themechange", () => this.draw());
    addEventListener("resize", () => this.draw());
    const frame = () => {
      if (!this.audio.paused) this.#time();
      requestAnimationFrame(frame);
    };
    frame();
  }

  get auto() { return byId("auto").checked; }
  get playing() { return !this.audio.paused; }

  /** Show a sound in the player, without playing it. */
  show(sound) {
    if (this.sound?.clip_id === sound.clip_id) {
      this.sound = sound;
      this.draw();
      return;
    }
    this.audio.pause();
    this.sound = sound;
    this.outline = null;
    this.audio.removeAttribute("src");
    byId("player").hidden = false;
    byId("playing-name").textContent = names(sound.path).name;
    this.draw();
    outlineOf(sound.clip_id).then((outline) => {
      if (this.sound?.clip_id !== sound.clip_id) return;
      this.outline = outline;
      this.draw();
    }, () => {});
    this.#changed();
  }

  /** Play a sound from a time in seconds; from its match when none is given. */
  async play(sound, from = sound.start ?? 0) {
    this.show(sound);
    const address = audioAddress(sound.clip_id);
    if (this.audio.getAttribute("src") !== address) this.audio.src = address;
    const seek = () => { this.audio.currentTime = from; };
    if (this.audio.readyState >= 1) seek();
    else this.audio.addEventListener("loadedmetadata", seek, { once: true });
    try {
      await this.audio.play();
    } catch (error) {
      if (error.name === "NotAllowedError") toast("Click once on the page, then sounds may play.");
    }
  }

  toggle() {
    if (!this.sound) return;
    if (this.playing) this.audio.pause();
    else if (this.audio.getAttribute("src") && !this.audio.ended) this.audio.play().catch(() => {});
    else this.play(this.sound);
  }

  stop() {
    this.audio.pause();
  }

  /** The matching part before or after the present time, where a sound has several. */
  jump(direction) {
    const starts = [...(this.sound?.windows ?? [])].map((window) => window.start).sort((a, b) => a - b);
    const now = this.audio.currentTime;
    const next = direction > 0
      ? starts.find((start) => start > now + 0.05)
      : starts.findLast((start) => start < now - 0.5);
    if (next !== undefined) this.play(this.sound, next);
  }

  draw() {
    if (!this.sound) return;
    const at = this.audio.getAttribute("src") ? this.audio.currentTime : null;
    drawWave(byId("playing-wave"), { outline: this.outline, windows: this.sound.windows,
      heat: this.sound.heat, at });
    const total = this.outline?.duration ?? this.sound.duration ?? 0;
    byId("playing-time").textContent = `${clock(this.audio.currentTime)} / ${clock(total)}`;
  }

  #time() {
    const { sound, audio } = this;
    if (byId("loop").checked && sound.end > sound.start && audio.currentTime >= sound.end) {
      audio.currentTime = sound.start;
    }
    this.draw();
    this.dispatchEvent(new Event("time"));
  }

  #changed() {
    const button = byId("play");
    showPlaying(button, this.playing);
    button.setAttribute("aria-label", this.playing ? "Pause" : "Play");
    this.draw();
    this.dispatchEvent(new Event("change"));
  }
}
