// The form for a question, and the questions of this browser session.
//
// Settings stay in localStorage; questions with the request and its key in sessionStorage, so that
// one that a restart of the server lost can be asked again after a reload.

import { field, fill, h } from "./dom.js";
import { ago } from "./format.js";
import { back, Offline } from "./http.js";
import { ask } from "./watch.js";

const SETTINGS = "rlvr.settings";
const ASKED = "rlvr.asked";
const KEPT = 30;
const DEFAULTS = { num_candidates: "3", temperatures: "0.3, 0.7, 0.9", top_k: "5" };
const MAX_QUESTION = 8000;
const MAX_TEMPERATURE = 2;
const LIMITS = { num_candidates: [2, 8, "Answers"], top_k: [1, 20, "Passages"] };

// What was asked for this batch from here: {batch_id, body, key, at, failed}, or undefined. With
// `change`, it is noted.
export function remembered(batchId, change) {
  const all = stored(sessionStorage, ASKED, []);
  const one = all.find((asked) => asked.batch_id === batchId);
  if (one && change) {
    Object.assign(one, change);
    store(sessionStorage, ASKED, all);
  }
  return one;
}

// The questions of this session, the latest first.
export function recent(current) {
  const all = stored(sessionStorage, ASKED, []).filter((asked) => asked.batch_id !== current);
  if (all.length === 0) return null;
  return h(
    "section",
    { class: "section", "aria-labelledby": "recent-title", "data-testid": "recent" },
    h("h2", { id: "recent-title" }, "Asked in this session"),
    h(
      "ul",
      { class: "recent" },
      all.map((asked) =>
        h(
          "li",
          {},
          h("a", { href: `#/ask/${asked.batch_id}` }, asked.body.question),
          h("span", { class: "meta" }, ago(asked.at)),
        ),
      ),
    ),
  );
}

// The form; `body` is a request whose question it starts with.
export function askForm(body) {
  const settings = { ...DEFAULTS, ...stored(localStorage, SETTINGS, {}) };
  const question = h("textarea", {
    id: "question",
    name: "question",
    rows: 3,
    maxlength: MAX_QUESTION,
    "data-testid": "question",
    value: body.question,
  });
  const number = (name) =>
    h("input", {
      id: name,
      name,
      type: "number",
      inputmode: "numeric",
      min: LIMITS[name][0],
      max: LIMITS[name][1],
      step: 1,
      value: settings[name],
      "data-testid": name,
    });
  const candidates = number("num_candidates");
  const topK = number("top_k");
  const temperatures = h("input", {
    id: "temperatures",
    name: "temperatures",
    autocomplete: "off",
    inputmode: "text",
    value: settings.temperatures,
    "data-testid": "temperatures",
  });
  const wrong = h("div", { class: "wrong", id: "ask-wrong", role: "alert" });
  const button = h("button", { class: "primary", "data-testid": "ask" }, "Ask");
  const form = h(
    "form",
    { class: "ask-form", novalidate: true, "aria-label": "Question", "data-testid": "ask-form" },
    field("Question", question),
    h(
      "div",
      { class: "ask-settings" },
      field("Answers", candidates, "2 to 8"),
      field("Temperatures", temperatures, "taken in turn, 0 to 2"),
      field("Passages", topK, "1 to 20"),
      h("div", { class: "send" }, h("span", { class: "hint keys" }, h("kbd", {}, "Ctrl"), " ", h("kbd", {}, "Enter")), button),
    ),
    wrong,
  );
  const inputs = { question, num_candidates: candidates, temperatures, top_k: topK };
  let pending = null; // {text, key}: what is sent again has the key that it had

  function refuse(name, ...said) {
    fill(wrong, h("p", { "data-testid": "error" }, ...said));
    const input = inputs[name];
    if (!input) return;
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-describedby", "ask-wrong");
    input.focus();
  }

  function request() {
    const values = { question: question.value.trim() };
    if (values.question === "") return refuse("question", "Write a question.");
    for (const [name, [low, high, label]] of Object.entries(LIMITS)) {
      values[name] = Number(inputs[name].value);
      if (!Number.isInteger(values[name]) || values[name] < low || values[name] > high) {
        return refuse(name, `${label}: give a whole number from ${low} to ${high}.`);
      }
    }
    const parts = temperatures.value.split(/[\s,;]+/).filter((part) => part !== "");
    const numbers = parts.map(Number);
    const bad = numbers.findIndex((value) => !(value >= 0 && value <= MAX_TEMPERATURE));
    if (bad >= 0) {
      return refuse("temperatures", `Temperatures: “${parts[bad]}” is no number from 0 to ${MAX_TEMPERATURE}.`);
    }
    if (numbers.length > values.num_candidates) {
      return refuse(
        "temperatures",
        `${numbers.length} temperatures are more than ${values.num_candidates} answers can use.`,
      );
    }
    if (numbers.length > 0) values.temperatures = numbers;
    return values;
  }

  async function submit() {
    if (button.disabled) return;
    fill(wrong);
    for (const input of Object.values(inputs)) {
      input.removeAttribute("aria-invalid");
      input.removeAttribute("aria-describedby");
    }
    const values = request();
    if (!values) return;
    store(localStorage, SETTINGS, {
      num_candidates: candidates.value,
      temperatures: temperatures.value,
      top_k: topK.value,
    });
    const text = JSON.stringify(values);
    if (pending?.text !== text) pending = { text, key: newKey() };
    const { key } = pending;
    button.disabled = true;
    fill(button, "Looking for passages…");
    try {
      const reply = await sent({ body: values, key });
      if (!reply) return;
      pending = null;
      keep({ batch_id: reply.batch_id, body: values, key, at: new Date().toISOString() });
      if (form.isConnected) location.hash = `#/ask/${reply.batch_id}`;
    } catch (error) {
      refused(error);
    } finally {
      button.disabled = false;
      fill(button, "Ask");
    }
  }

  // The reply, after a lost connection too; undefined where the form is gone by then.
  async function sent(what) {
    for (;;) {
      try {
        return await ask(what);
      } catch (error) {
        if (!(error instanceof Offline)) throw error;
        fill(wrong, h("p", {}, "No connection: the question is sent once the server is back."));
        await back();
        if (!form.isConnected) return undefined;
        fill(wrong);
      }
    }
  }

  function refused(error) {
    const [first] = error.errors ?? [];
    if (first) {
      refuse(first.field.split(".")[0], `${first.field}: ${first.reason}`);
    } else if (error.status === 409) {
      refuse(null, "There are no documents to answer from yet. ", h("a", { href: "#/documents" }, "Add some"), ".");
    } else {
      refuse(null, error.message);
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      submit();
    }
  });
  return form;
}

function keep(asked) {
  const others = stored(sessionStorage, ASKED, []).filter((one) => one.batch_id !== asked.batch_id);
  store(sessionStorage, ASKED, [asked, ...others].slice(0, KEPT));
}

// randomUUID is missing where the page came over plain HTTP from another machine.
function newKey() {
  if (crypto.randomUUID) return crypto.randomUUID();
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// Storage may be full or forbidden: then nothing is remembered, and all else works.
function stored(storage, name, otherwise) {
  try {
    return JSON.parse(storage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

function store(storage, name, value) {
  try {
    storage.setItem(name, JSON.stringify(value));
  } catch {
    // Not remembered.
  }
}
