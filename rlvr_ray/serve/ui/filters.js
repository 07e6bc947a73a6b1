// The filters of batches, by the same names in the address, in the form and in what is asked of
// the server.

import { fill, h } from "./dom.js";
import { REASONS, REVIEWS } from "./enums.js";
import { count, outcome } from "./format.js";

const NAMES = [
  "text", "outcome", "model", "review", "min_margin", "max_margin", "min_score", "max_score",
  "since", "until", "correlation_id",
];

const REVIEWED = {
  none: "not reviewed",
  agree: "human agrees",
  disagree: "human disagrees",
  tie: "human sees a tie",
  discard: "discarded",
};

// What the address says after its "?".
export function asked() {
  return new URLSearchParams(location.hash.split("?").slice(1).join("?"));
}

// Of that, the filters.
export function filtersOf(search) {
  const found = new URLSearchParams();
  for (const name of NAMES) {
    for (const value of search.getAll(name)) if (value.trim()) found.append(name, value.trim());
  }
  return found;
}

// The same without those of these names.
export function without(filters, ...names) {
  const left = new URLSearchParams(filters);
  for (const name of names) left.delete(name);
  return left;
}

// A review's verdict, for people.
export function reviewed(verdict) {
  return REVIEWED[verdict] ?? verdict;
}

// All outcomes that are no pair.
function outcomes(name) {
  return name === "no_pair" ? "no pair" : outcome(name);
}

// The filters in words; "" where there are none.
export function described(filters) {
  const words = [];
  const one = (name, say) => filters.get(name) && words.push(say(filters.get(name)));
  const range = (title, low, high) => {
    const [from, to] = [filters.get(low), filters.get(high)];
    if (from || to) words.push(`${title} ${from ? `from ${from}` : ""}${to ? ` up to ${to}` : ""}`);
  };
  one("text", (value) => `“${value}”`);
  one("outcome", () => filters.getAll("outcome").map(outcomes).join(" or "));
  one("model", (value) => value);
  one("review", reviewed);
  range("margin", "min_margin", "max_margin");
  range("best score", "min_score", "max_score");
  range("date", "since", "until");
  one("correlation_id", (value) => `correlation id ${value}`);
  return words.join(", ");
}

// The form. `changed(filters)` is called when they are others, and valid. Its methods: `counts` and
// `models` say what there is to choose from, `set(name, value)` enters a value, `clear()` none.
export function filterForm(given, changed) {
  // Several outcomes, which only an address can ask for, are one choice with commas in its value.
  const values = new Map(NAMES.map((name) => [name, given.getAll(name).join(",")]));
  const controls = {};
  let last = String(given);
  let timer = 0;

  function control(name, tag, attributes) {
    controls[name] = h(tag, {
      id: `filter-${name}`,
      name,
      "data-testid": `filter-${name}`,
      ...attributes,
    });
    return controls[name];
  }

  function single(name, title, tag, attributes) {
    const made = control(name, tag, attributes);
    return h("div", { class: `field field-${name}` }, h("label", { for: made.id }, title), made);
  }

  function range(title, low, high, attributes) {
    const end = (name, word) => {
      const made = control(name, "input", attributes);
      return [h("label", { class: "unseen", for: made.id }, `${title} ${word}`), made];
    };
    return h(
      "fieldset",
      { class: `field field-range ${low === "since" ? "field-dates" : ""}` },
      h("legend", {}, title),
      h(
        "div",
        {},
        end(low, "from"),
        h("span", { "aria-hidden": "true" }, "–"),
        end(high, "up to"),
      ),
    );
  }

  const unit = { type: "number", min: 0, max: 1, step: 0.01, inputmode: "decimal" };
  const wrong = h("p", { class: "wrong", role: "alert" });
  const nothing = h(
    "button",
    { type: "button", "data-testid": "filter-clear", onclick: clear },
    "Clear filters",
  );
  const element = h(
    "form",
    {
      class: "filters",
      "aria-label": "Filters",
      autocomplete: "off",
      oninput: (event) => soon(event.target.tagName === "SELECT" ? 0 : 300),
      onsubmit: (event) => {
        event.preventDefault();
        soon(0);
      },
    },
    single("text", "Text in question or answers", "input", { type: "search", maxlength: 200 }),
    single("outcome", "Outcome", "select"),
    single("model", "Model", "select"),
    single("review", "Review", "select"),
    range("Margin", "min_margin", "max_margin", unit),
    range("Best score", "min_score", "max_score", unit),
    range("Date (UTC)", "since", "until", { type: "date" }),
    single("correlation_id", "Correlation id", "input", {
      type: "text",
      maxlength: 200,
      spellcheck: "false",
    }),
    h("div", { class: "field field-clear" }, nothing),
    wrong,
  );

  // What a control shows of a value: a date field has no time, though a link may name one.
  function visible(name) {
    return controls[name].type === "date" ? values.get(name).slice(0, 10) : values.get(name);
  }

  function show() {
    for (const name of NAMES) controls[name].value = visible(name);
    nothing.disabled = ![...values.values()].some(Boolean);
  }

  function choices(name, options, all) {
    const value = values.get(name);
    if (value && !options.some(([each]) => each === value)) {
      const title = name === "outcome" ? value.split(",").map(outcomes).join(" or ") : value;
      options = [...options, [value, title]];
    }
    const made = ([each, title]) => h("option", { value: each }, title);
    fill(controls[name], [["", all], ...options].map(made));
    show();
  }

  function soon(delay) {
    clearTimeout(timer);
    timer = setTimeout(take, delay);
  }

  function take() {
    const bad = NAMES.filter((name) => {
      const { badInput, rangeOverflow, rangeUnderflow } = controls[name].validity;
      const found = badInput || rangeOverflow || rangeUnderflow;
      if (found) controls[name].setAttribute("aria-invalid", "true");
      else controls[name].removeAttribute("aria-invalid");
      return found;
    });
    fill(wrong, bad.length > 0 && controls[bad[0]].validationMessage);
    if (bad.length) return;
    for (const name of NAMES) {
      const entered = controls[name].value.trim();
      if (entered !== visible(name)) values.set(name, entered);
    }
    tell();
  }

  function tell() {
    const now = new URLSearchParams();
    for (const [name, value] of values) {
      for (const each of name === "outcome" ? value.split(",") : [value]) {
        if (each) now.append(name, each);
      }
    }
    nothing.disabled = !String(now);
    if (String(now) === last) return;
    last = String(now);
    changed(now);
  }

  function clear() {
    for (const name of NAMES) values.set(name, "");
    fill(wrong);
    show();
    controls.text.focus();
    tell();
  }

  function counts(found) {
    const some = (n) => (found ? ` (${count(n ?? 0)})` : "");
    const counted = Object.keys(found ?? {}).filter((name) => !["pair", "open"].includes(name));
    const reasons = found ? counted : REASONS;
    const none = reasons.reduce((sum, name) => sum + (found?.[name] ?? 0), 0);
    choices(
      "outcome",
      [
        ["pair", `pair${some(found?.pair)}`],
        ["no_pair", `no pair${some(none)}`],
        ...reasons.map((name) => [name, `· ${outcomes(name)}${some(found?.[name])}`]),
        ["open", `open${some(found?.open)}`],
      ],
      "any",
    );
  }

  function models(names) {
    choices("model", names.map((name) => [name, name]), "any");
  }

  function set(name, value) {
    values.set(name, value);
    show();
    tell();
  }

  counts(null);
  models([]);
  choices("review", REVIEWS.map((name) => [name, reviewed(name)]), "any");
  return { element, counts, models, set, clear, close: () => clearTimeout(timer) };
}
