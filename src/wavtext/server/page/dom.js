// Elements without markup strings (the page's policy forbids those), and how values are written.

/** An element: el("button", {class: "quiet", onclick}, "text", child, ...). */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** A picture from icons.svg. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `/page/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/** Both pictures of a play button; the style shows one. */
export const playIcons = () => [icon("play"), icon("pause")];

export function showPlaying(button, playing) {
  button.classList.toggle("playing-now", playing);
}

export const byId = (id) => document.getElementById(id);

/** Seconds on a clock: "0:02.5", "1:02:03". */
export function clock(seconds, digits = 1) {
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor((seconds % 3600) / 60);
  if (hours) return `${hours}:${pad(minutes)}:${pad(Math.floor(seconds % 60))}`;
  const rest = (seconds % 60).toFixed(digits);
  return `${minutes}:${rest.padStart(digits ? 3 + digits : 2, "0")}`;
}

/** Seconds as people say them: "2.5 s", "3:20", "2 h 05 min". */
export function length(seconds) {
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 3600) return clock(seconds, 0);
  return `${Math.floor(seconds / 3600)} h ${pad(Math.round((seconds % 3600) / 60))} min`;
}

export function count(number, one, many = `${one}s`) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

export function bytes(size) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) [size, unit] = [size / 1000, unit + 1];
  return `${size >= 100 || !unit ? Math.round(size) : size.toFixed(1)} ${units[unit]}`;
}

const pad = (number) => String(number).padStart(2, "0");

/** The last part of a path, and the two folders before it. */
export function names(path) {
  const parts = path.split(/[\\/]/).filter(Boolean);
  return { name: parts.at(-1) ?? path, folder: parts.slice(-3, -1).join(" / ") };
}

/** How well a result fits, in words and as a share of 1; the bounds are docs/server.md's. */
export function relevance(result) {
  if (result.relevance === null || result.relevance === undefined) {
    return { word: "similarity", share: Math.max(0, result.score), text: result.score.toFixed(2) };
  }
  const share = result.relevance;
  const word = share >= 0.8 ? "strong" : share >= 0.5 ? "good" : share >= 0.1 ? "possible" : "weak";
  return { word, share, text: `${Math.round(share * 100)} %` };
}

let hideToast = 0;

/** A short message at the bottom, read out by screen readers. */
export function toast(text) {
  const box = byId("toast");
  box.textContent = text;
  box.classList.add("shown");
  clearTimeout(hideToast);
  hideToast = setTimeout(() => box.classList.remove("shown"), 3500);
}

/** A colour of the theme, for canvases. */
export function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Fit a canvas to its place and the screen's density; its context in CSS pixels. */
export function fitCanvas(canvas) {
  const density = Math.min(devicePixelRatio || 1, 3);
  const { width, height } = canvas.getBoundingClientRect();
  if (canvas.width !== Math.round(width * density) || canvas.height !== Math.round(height * density)) {
    canvas.width = Math.round(width * density);
    canvas.height = Math.round(height * density);
  }
  const context = canvas.getContext("2d");
  context.setTransform(density, 0, 0, density, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}
