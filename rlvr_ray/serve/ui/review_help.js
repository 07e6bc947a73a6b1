// What is set once for all reviews: the keys, and the reviewer's name. The browser remembers both.

import { field, h } from "./dom.js";

const KEYS = [
  ["A  B", "This answer is the better one"],
  ["T", "A tie: neither is better"],
  ["D", "Discard: the pair is of no use"],
  ["N", "Write a note; Enter or Esc leaves it"],
  ["U", "Back to the pair before; another verdict there counts instead"],
  ["Enter", "On to the next pair, without waiting"],
  ["?", "Show or hide this"],
];

// Its methods: `reviewer()`, `letters()` says whether letters are keys, `toggle()` shows or hides.
export function reviewHelp() {
  const name = h("input", {
    id: "reviewer",
    type: "text",
    maxlength: 100,
    autocomplete: "nickname",
    value: remembered("reviewer"),
    "data-testid": "reviewer",
    onchange: () => remember("reviewer", name.value.trim()),
  });
  const letters = h("input", {
    id: "letters",
    type: "checkbox",
    checked: remembered("letters") !== "off",
    onchange: () => remember("letters", letters.checked ? "on" : "off"),
  });
  const keys = KEYS.map(([key, does]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, does)]);
  const element = h(
    "details",
    { "data-testid": "review-keys" },
    h("summary", {}, "Keys and your name ", h("kbd", { "aria-hidden": "true" }, "?")),
    h(
      "div",
      { class: "section review-help" },
      h("dl", { class: "facts" }, keys),
      h("div", { class: "check" }, letters, h("label", { for: "letters" }, "Use letters as keys")),
      field("Your name", name, "It is recorded with each verdict; this browser remembers it."),
    ),
  );
  return {
    element,
    reviewer: () => name.value.trim(),
    letters: () => letters.checked,
    toggle: () => (element.open = !element.open),
  };
}

function remembered(name) {
  try {
    return localStorage.getItem(`rlvr.${name}`) ?? "";
  } catch {
    return ""; // this browser keeps nothing
  }
}

function remember(name, value) {
  try {
    localStorage.setItem(`rlvr.${name}`, value);
  } catch {
    // It is asked for again next time.
  }
}
