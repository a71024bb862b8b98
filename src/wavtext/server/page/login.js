// Signing in: the address printed at start carries the token behind '#', which no server sees.

import { byId } from "./dom.js";

async function signIn(token) {
  byId("error").textContent = "";
  let response;
  try {
    response = await fetch("/login", { method: "POST", body: JSON.stringify({ token }),
      headers: { "Content-Type": "application/json" } });
  } catch {
    byId("error").textContent = "The server does not answer.";
    return;
  }
  if (response.ok) {
    location.replace("/");
    return;
  }
  const { error } = await response.json().catch(() => ({}));
  byId("error").textContent = error?.message ?? "That did not work.";
  byId("token").focus();
}

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn(byId("token").value.trim());
});

const token = decodeURIComponent(location.hash.slice(1));
if (token) {
  history.replaceState(null, "", "/login");
  signIn(token);
} else {
  byId("token").focus();
}
