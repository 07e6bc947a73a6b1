// The one way to the server.
//
// An error becomes a Problem. A 401 asks for the key and tries again. No connection becomes Offline
// and shows the banner until the server is back: wait for `back()`. Paths are those of the API.

const RETRY_MS = 2000;

// The server said no. `status`; `detail` for people; `errors`: [{field, reason}] of a 422.
export class Problem extends Error {
  constructor(status, body) {
    super(body?.detail || `the server answered ${status}`);
    this.status = status;
    this.detail = this.message;
    this.errors = body?.errors ?? [];
  }
}

// There is no connection to the server.
export class Offline extends Error {
  constructor() {
    super("no connection to the server");
  }
}

// A path of the API under the address that the page has.
export function url(path) {
  return new URL(path.replace(/^\//, ""), document.baseURI).href;
}

// "?a=1&b=2", or "" where nothing is given. Arrays repeat their name; empty values are left out.
export function query(values) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") search.append(name, one);
    }
  }
  const text = search.toString();
  return text && `?${text}`;
}

// The response to a request. Raises Problem (unless `accept` has its status), Offline, or
// AbortError where `signal` says so.
export async function request(path, { method = "GET", headers, body, signal, accept = [] } = {}) {
  for (;;) {
    let response;
    try {
      response = await fetch(url(path), { method, headers, body, signal, cache: "no-store" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      lost();
      throw new Offline();
    }
    if (response.status === 401) {
      await unlock();
      continue;
    }
    if (response.ok || accept.includes(response.status)) return response;
    throw new Problem(response.status, await response.json().catch(() => null));
  }
}

// What a GET answers, parsed; null where it has nothing to say (204).
export async function get(path, options) {
  return parsed(await request(path, options));
}

// The same for a body in JSON.
export async function send(method, path, value, { headers, ...options } = {}) {
  const body = value === undefined ? undefined : JSON.stringify(value);
  const type = body === undefined ? {} : { "Content-Type": "application/json" };
  return parsed(await request(path, { ...options, method, body, headers: { ...type, ...headers } }));
}

async function parsed(response) {
  if (response.status === 204) return null;
  try {
    return await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    lost(); // the connection broke within the body
    throw new Offline();
  }
}

// Send a form and hear of the progress, as a share from 0 to 1. Only XMLHttpRequest tells of it.
export async function upload(path, form, progress, signal) {
  for (;;) {
    const { status, text } = await new Promise((resolve, reject) => {
      const xhr = new XMLHttpRequest();
      xhr.open("POST", url(path));
      xhr.upload.addEventListener("progress", (event) => {
        if (event.lengthComputable && event.total) progress(event.loaded / event.total);
      });
      xhr.addEventListener("load", () => resolve({ status: xhr.status, text: xhr.responseText }));
      xhr.addEventListener("error", () => {
        lost();
        reject(new Offline());
      });
      xhr.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")));
      signal?.addEventListener("abort", () => xhr.abort());
      xhr.send(form);
    });
    if (status === 401) {
      await unlock();
      continue;
    }
    let body = null;
    try {
      body = JSON.parse(text);
    } catch {
      // The status says enough.
    }
    if (status >= 200 && status < 300) return body;
    throw new Problem(status, body);
  }
}

// The key.

let keyForm = () => Promise.reject(new Problem(401, { detail: "an API key is needed" }));
let asking = null;

// Say who asks for the key: `show(tried)` returns a promise that holds once `tried(key)` was true.
export function keyFrom(show) {
  keyForm = show;
}

function unlock() {
  asking ??= keyForm(openSession).finally(() => {
    asking = null;
  });
  return asking;
}

async function openSession(key) {
  try {
    const response = await fetch(url("/session"), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ key }),
    });
    if (response.ok) return true;
    if (response.status === 401) return false;
    throw new Problem(response.status, await response.json().catch(() => null));
  } catch (error) {
    if (error instanceof Problem) throw error;
    lost();
    throw new Offline();
  }
}

// The connection.

let waiting = null;

// Holds once the server answers; at once where the connection is not known to be lost.
export function back() {
  return waiting ?? Promise.resolve();
}

// The connection is lost: show it, and look for the server until it is back.
export function lost() {
  if (waiting) return;
  const banner = document.getElementById("banner");
  banner.textContent = "No connection to the server. Trying again by itself…";
  banner.hidden = false;
  waiting = (async () => {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      try {
        if ((await fetch(url("/livez"), { cache: "no-store" })).status < 500) break;
      } catch {
        // Not yet.
      }
    }
    banner.hidden = true;
    banner.textContent = "";
    waiting = null;
  })();
}
