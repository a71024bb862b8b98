// The library: what it holds, its folders, indexing with progress, and what failed.

import { get, send } from "./api.js";
import { byId, bytes, count, el, icon, length, toast } from "./dom.js";

export class LibraryView {
  constructor(changed) {
    this.changed = changed;
    this.place = byId("library");
    this.stream = null;
  }

  show(visible) {
    if (visible) this.#load();
  }

  async #load() {
    let library;
    let failures;
    try {
      [library, { failures }] = await Promise.all([get("/api/library"), get("/api/library/failures")]);
    } catch (error) {
      this.place.replaceChildren(el("div", { class: "blank" }, el("h2", {}, error.message),
        el("p", {}, error.help ?? ""),
        el("button", { class: "primary", type: "button", onclick: () => this.#load() }, "Try again")));
      return;
    }
    this.job = el("div", {});
    this.place.replaceChildren(
      el("h2", {}, "Library"),
      figures(library),
      el("h2", {}, "Folders"),
      el("ul", { class: "folders" }, ...library.folders.map((folder) => this.#folder(folder, library))),
      this.job,
      ...failureTable(failures));
    if (library.job) this.#showJob(library.job);
    if (library.job?.state === "running") this.#follow(library.job);
  }

  #folder({ folder, name }, library) {
    const running = library.job?.state === "running";
    return el("li", {}, icon("folder"), el("span", {}, name),
      el("button", { class: "primary", type: "button", disabled: running,
        onclick: (event) => this.#start(folder, event.target) }, library.clips ? "Update" : "Index"));
  }

  async #start(folder, button) {
    button.disabled = true;
    try {
      const job = await send("POST", "/api/library/jobs", { folder });
      this.#showJob(job);
      this.#follow(job);
    } catch (error) {
      button.disabled = false;
      toast(`${error.message} ${error.help ?? ""}`);
    }
  }

  #follow({ job_id: id }) {
    this.stream?.close();
    this.stream = new EventSource(`/api/library/jobs/${id}/events`);
    this.stream.addEventListener("progress", (event) => this.#showJob(JSON.parse(event.data)));
    this.stream.addEventListener("end", (event) => {
      this.stream.close();
      this.stream = null;
      const job = JSON.parse(event.data);
      toast(job.summary);
      this.changed();
      this.#load();
    });
  }

  #showJob(job) {
    if (!this.job) return;
    if (job.state !== "running") {
      const words = { done: "Last run", stopped: "Stopped", failed: "Failed" };
      this.job.replaceChildren(el("div", { class: "job" },
        el("p", {}, el("strong", {}, words[job.state] ?? job.state)),
        el("p", { class: "detail" }, job.summary)));
      return;
    }
    const done = job.files_total ? `${job.files_done.toLocaleString("en")} of ${count(job.files_total, "file")}`
      : "Looking through the folder …";
    const parts = [
      job.speed ? `${Math.round(job.speed).toLocaleString("en")} × real time` : "",
      job.time_left === null ? "" : `about ${length(Math.max(1, job.time_left))} left`,
      job.failed ? `${job.failed} failed` : "",
    ].filter(Boolean);
    const bar = el("progress", { max: Math.max(1, job.files_total), "aria-label": "Indexing" });
    if (job.files_total) bar.value = job.files_done;
    const stop = el("button", { class: "text", type: "button", onclick: () =>
      send("DELETE", `/api/library/jobs/${job.job_id}`).catch((error) => toast(error.message)) }, "Stop");
    const focused = document.activeElement?.textContent === "Stop";
    this.job.replaceChildren(el("div", { class: "job" },
      el("div", { class: "job-head" }, el("p", {}, el("strong", {}, done)), stop), bar,
      el("p", { class: "detail numbers" }, [parts.join(" · "), job.name].filter(Boolean).join(" · ") || " ")));
    if (focused) stop.focus();
  }
}

function figures(library) {
  const figure = (name, value, small = false) => el("div", { class: small ? "small" : "" }, el("dt", {}, name), el("dd", {}, value));
  return el("dl", { class: "figures" },
    figure("Sounds", library.clips.toLocaleString("en")),
    figure("Length", length(library.duration)),
    figure("Windows", library.windows.toLocaleString("en")),
    figure("On disk", bytes(library.size)),
    figure("Model", `${library.model || "none yet"}, ${library.dim}-d`, true));
}

function failureTable(failures) {
  if (!failures.length) return [];
  return [
    el("h2", {}, `${count(failures.length, "file")} could not be indexed`),
    el("table", { class: "failures" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "File"), el("th", { scope: "col" }, "Reason"))),
      el("tbody", {}, ...failures.slice(0, 500).map(({ name, reason }) =>
        el("tr", {}, el("td", {}, name), el("td", {}, reason))))),
  ];
}
