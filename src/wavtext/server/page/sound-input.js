// Searching by sound: a file dropped or chosen, or a recording from the microphone.

import { send } from "./api.js";
import { byId, clock, toast } from "./dom.js";

const MAX_RECORDING = 30; // s

/** Send a sound; calls found({upload_id, upload_duration, ...}, name) with what sounds like it. */
export async function uploadSound(file, name, session, found) {
  if (file.size > session.max_upload_bytes) {
    toast(`The sound is larger than ${Math.round(session.max_upload_bytes / 2 ** 20)} MiB.`);
    return;
  }
  const form = new FormData();
  form.append("file", file, "sound");
  document.body.classList.add("searching");
  toast(`Listening to ${name} …`);
  try {
    found(await send("POST", "/api/search", form), name);
  } catch (error) {
    toast(`${error.message} ${error.help ?? ""}`);
  } finally {
    document.body.classList.remove("searching");
  }
}

export function installDrop(take) {
  const veil = byId("drop");
  let depth = 0;
  const carriesFile = (event) => event.dataTransfer?.types.includes("Files")
    && !event.dataTransfer.types.includes("application/x-wavtext");
  addEventListener("dragenter", (event) => {
    if (!carriesFile(event)) return;
    event.preventDefault();
    depth += 1;
    veil.hidden = false;
  });
  addEventListener("dragover", (event) => { if (carriesFile(event)) event.preventDefault(); });
  addEventListener("dragleave", () => {
    depth = Math.max(0, depth - 1);
    if (!depth) veil.hidden = true;
  });
  addEventListener("drop", (event) => {
    depth = 0;
    veil.hidden = true;
    if (!carriesFile(event)) return;
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) take(file, file.name);
  });
  byId("choose").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (file) take(file, file.name);
  });
}

export function installRecorder(take) {
  const button = byId("record");
  const time = byId("record-time");
  let recorder = null;
  let timer = 0;
  button.addEventListener("click", async () => {
    if (recorder) {
      recorder.stop();
      return;
    }
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: {
        echoCancellation: false, noiseSuppression: false, autoGainControl: false } });
    } catch {
      toast("The microphone is not available, or this page may not use it.");
      return;
    }
    const parts = [];
    const began = performance.now();
    recorder = new MediaRecorder(stream);
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    recorder.addEventListener("stop", () => {
      clearInterval(timer);
      stream.getTracks().forEach((track) => track.stop());
      const { mimeType } = recorder;
      recorder = null;
      button.setAttribute("aria-pressed", "false");
      button.setAttribute("aria-label", "Record a sound to search with");
      time.textContent = "";
      take(new Blob(parts, { type: mimeType }), "your recording");
    });
    recorder.start();
    button.setAttribute("aria-pressed", "true");
    button.setAttribute("aria-label", "Stop recording and search");
    timer = setInterval(() => {
      const seconds = (performance.now() - began) / 1000;
      time.textContent = clock(seconds, 0);
      if (seconds >= MAX_RECORDING) recorder?.stop();
    }, 200);
  });
}
