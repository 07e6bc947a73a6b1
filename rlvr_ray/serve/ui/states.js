// What a view shows while it has nothing to show.

import { fill, h } from "./dom.js";
import { back, Offline } from "./http.js";

// It is being fetched. The words appear after a moment: what comes at once needs none.
export function loading(text = "Loading…") {
  return h("p", { class: "state loading", role: "status" }, text);
}

// There is nothing, and what to do about it.
export function empty(title, ...more) {
  return h(
    "div",
    { class: "state" },
    h("p", { class: "state-title" }, title),
    more.length > 0 && h("p", {}, ...more),
  );
}

// It went wrong. With `retry`, a button; after a lost connection it is tried again by itself.
export function failure(error, retry) {
  const block = h(
    "div",
    { class: "state failure", role: "alert", "data-testid": "error" },
    h("p", { class: "state-title" }, error.detail || error.message),
    retry && h("p", {}, h("button", { type: "button", onclick: retry }, "Try again")),
  );
  if (retry && error instanceof Offline) back().then(() => block.isConnected && retry());
  return block;
}

// Fetch and show, with the states between: `load()` gives data, `draw(data)` a node or an array
// of them. A later call on the same element replaces an earlier one, whichever ends first.
export async function through(element, load, draw) {
  const turn = {};
  turns.set(element, turn);
  element.setAttribute("aria-busy", "true");
  fill(element, loading());
  let children;
  try {
    children = draw(await load());
  } catch (error) {
    if (error.name === "AbortError") return;
    children = failure(error, () => through(element, load, draw));
  }
  if (turns.get(element) !== turn) return;
  element.removeAttribute("aria-busy");
  fill(element, children);
}

const turns = new WeakMap();
