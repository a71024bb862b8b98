// Talking to the server: JSON in and out, the CSRF token, errors with something to do about them.

export class ApiError extends Error {
  constructor(status, message, help = "") {
    super(message);
    this.status = status;
    this.help = help;
  }
}

let session = null;

/** What the page may do, and the CSRF token; asked for once. */
export function getSession() {
  session ??= request("/api/session");
  session.catch(() => { session = null; });
  return session;
}

export const get = (path, options = {}) => request(path, options);

/** POST or DELETE with the CSRF token; once more with a fresh one when the server was restarted. */
export async function send(method, path, body, options = {}) {
  const form = body instanceof FormData;
  const attempt = async () => {
    const headers = { "X-CSRF-Token": (await getSession()).csrf_token };
    if (body !== undefined && !form) headers["Content-Type"] = "application/json";
    const content = form || body === undefined ? body : JSON.stringify(body);
    return request(path, { ...options, method, headers, body: content });
  };
  try {
    return await attempt();
  } catch (error) {
    if (error.status !== 403 || !session) throw error;
    session = null;
    return attempt();
  }
}

async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The server does not answer.", "Is wavtext serve still running?");
  }
  if (response.status === 401) {
    location.assign("/login");
    throw new ApiError(401, "Sign in first.");
  }
  let content = {};
  try {
    content = await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
  }
  if (!response.ok) {
    const { message = `The server answered ${response.status}.`, help = "" } = content.error ?? {};
    throw new ApiError(response.status, message, help);
  }
  return content;
}

export const audioAddress = (id) => `/api/clips/${id}/audio`;
export const fileAddress = (id) => new URL(`/api/clips/${id}/audio?original=true`, location).href;
export const cutAddress = (id, start, end) =>
  new URL(`/api/clips/${id}/audio?start=${start.toFixed(3)}&end=${end.toFixed(3)}`, location).href;

const facts = new Map();

/** A clip's facts, remembered. */
export function clipFacts(id) {
  if (!facts.has(id)) {
    const asked = get(`/api/clips/${id}`);
    asked.catch(() => facts.delete(id));
    facts.set(id, asked);
  }
  return facts.get(id);
}
