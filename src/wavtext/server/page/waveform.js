// Outlines of sounds, drawn from the server's peaks: matching windows bright, the rest muted, and
// below them a strip of heat: how well each stretch of time fits the search.

import { get } from "./api.js";
import { colour, fitCanvas } from "./dom.js";

const BINS = 480;
const KEPT = 600;
const STRIP = 5; // px of the heat strip
const outlines = new Map();
const waiting = [];
let running = 0;

/** The outline of a clip: {duration, peaks: Int8Array}; few are asked for at once, the last first. */
export function outlineOf(id) {
  if (outlines.has(id)) return outlines.get(id);
  const asked = new Promise((resolve, reject) => waiting.push({ id, resolve, reject }));
  asked.catch(() => outlines.delete(id));
  outlines.set(id, asked);
  if (outlines.size > KEPT) outlines.delete(outlines.keys().next().value);
  askNext();
  return asked;
}

function askNext() {
  if (running >= 4 || !waiting.length) return;
  const { id, resolve, reject } = waiting.pop();
  running += 1;
  get(`/api/clips/${id}/waveform?bins=${BINS}`)
    .then(({ duration, peaks }) => resolve({ duration, peaks: Int8Array.from(peaks) }), reject)
    .finally(() => { running -= 1; askNext(); });
}

/**
 * Draw an outline.
 * windows: [{start, end, score}] bright, the first on a ground of its own; heat: [{start, end,
 * score}] the strip; at: seconds played.
 */
export function drawWave(canvas, { outline, windows = [], heat = [], at = null }) {
  const { context, width, height } = fitCanvas(canvas);
  if (!outline || !width) return;
  const { duration, peaks } = outline;
  const strip = heat.length > 1 ? STRIP : 0;
  const middle = (height - strip - 1) / 2;
  const bins = peaks.length / 2;
  const place = (seconds) => (duration > 0 ? (seconds / duration) * width : 0);
  const bright = windows.map(({ start, end }) => [place(start), Math.max(place(end), place(start) + 3)]);
  context.fillStyle = colour("--accent-soft");
  for (const [left, right] of bright.slice(0, 1)) {
    context.beginPath();
    context.roundRect(left, 0, right - left, height - strip - 1, 4);
    context.fill();
  }
  let loudest = 8;
  for (const peak of peaks) loudest = Math.max(loudest, Math.abs(peak));
  const scale = middle / loudest;
  const [muted, accent] = [colour("--wave"), colour("--accent")];
  const step = width > 360 ? 2 : 1.5;
  for (let x = 0; x < width; x += step) {
    const first = Math.floor((x / width) * bins);
    const last = Math.max(first + 1, Math.floor(((x + step) / width) * bins));
    let [low, high] = [0, 0];
    for (let bin = first; bin < last && bin < bins; bin += 1) {
      low = Math.min(low, peaks[2 * bin]);
      high = Math.max(high, peaks[2 * bin + 1]);
    }
    const inside = bright.some(([left, right]) => x + step > left && x < right);
    context.fillStyle = inside ? accent : muted;
    const top = middle - high * scale;
    context.fillRect(x, top, step * 0.72, Math.max(1, (high - low) * scale));
  }
  drawHeat(context, heat, place, height - STRIP, accent);
  if (at !== null) {
    context.fillStyle = colour("--second");
    context.fillRect(Math.min(place(at), width - 2), 0, 2, height - strip);
  }
}

function drawHeat(context, heat, place, top, accent) {
  if (heat.length < 2) return;
  const scores = heat.map(({ score }) => score);
  const [low, high] = [Math.min(...scores), Math.max(...scores)];
  context.fillStyle = accent;
  for (const { start, end, score } of heat) {
    const share = high > low ? (score - low) / (high - low) : 1;
    context.globalAlpha = 0.1 + 0.9 * share * share;
    context.fillRect(place(start), top, Math.max(1.5, place(end) - place(start) - 0.5), STRIP);
  }
  context.globalAlpha = 1;
}
