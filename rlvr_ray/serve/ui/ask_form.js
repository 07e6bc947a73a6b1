// The form for a question, and the questions of this browser session.
//
// The form shows the server's defaults and sends what differs. sessionStorage has what was changed,
// and each request with its key: what a restart of the server lost is asked again after a reload.

import { field, fill, h } from "./dom.js";
import { MAX_QUESTION } from "./enums.js";
import { ago } from "./format.js";
import { back, get, Offline } from "./http.js";
import { ask } from "./watch.js";

const CHANGED = "rlvr.changed";
const ASKED = "rlvr.asked";
const KEPT = 30;

// What was asked for this batch from here: {batch_id, body, key, at, failed, num_candidates,
// temperatures}, or undefined. With `change`, it is noted.
export function remembered(batchId, change) {
  const all = stored(ASKED, []);
  const one = all.find((asked) => asked.batch_id === batchId);
  if (one && change) {
    Object.assign(one, change);
    store(ASKED, all);
  }
  return one;
}

// The questions of this session, the latest first.
export function recent(current) {
  const all = stored(ASKED, []).filter((asked) => asked.batch_id !== current);
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
  const changed = stored(CHANGED, {}); // by name, as typed
  let defaults = {}; // the server's, once they are known
  const question = h("textarea", {
    id: "question",
    name: "question",
    rows: 3,
    maxlength: MAX_QUESTION,
    "data-testid": "question",
    value: body.question,
  });
  const setting = (name, more) =>
    h("input", { id: name, name, value: changed[name] ?? "", "data-testid": name, ...more });
  const number = (name, min, max) => setting(name, { type: "number", min, max });
  const candidates = number("num_candidates", 2, 8);
  const topK = number("top_k", 1, 20);
  const temperatures = setting("temperatures", { autocomplete: "off" });
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
  get("/ask/defaults").then((found) => {
    defaults = found;
    for (const [name, value] of Object.entries(found)) {
      const text = Array.isArray(value) ? value.join(", ") : String(value);
      inputs[name].placeholder = text;
      if (inputs[name].value === "") inputs[name].value = text;
      else form.querySelector(`#${name}-hint`).append(`, default ${text}`);
    }
  }, () => {}); // what is left empty is not sent
  let pending = null; // {text, key}: what is sent again has the key that it had

  function refuse(name, ...message) {
    fill(wrong, h("p", { "data-testid": "error" }, ...message));
    const input = inputs[name];
    if (!input) return;
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-describedby", "ask-wrong");
    input.focus();
  }

  // What is to be sent: the question, and what differs from the server's defaults.
  function request() {
    const values = { question: question.value.trim() };
    if (values.question === "") return refuse("question", "Write a question.");
    for (const input of [candidates, topK]) {
      if (!input.validity.valid) return refuse(input.name, input.validationMessage);
      if (input.value !== "") values[input.name] = input.valueAsNumber;
    }
    const parts = temperatures.value.match(/[^\s,;]+/g) ?? [];
    const bad = parts.find((part) => !(part >= 0 && part <= 2));
    if (bad) return refuse("temperatures", `“${bad}” is no number from 0 to 2.`);
    if (parts.length > 0) values.temperatures = parts.map(Number);
    for (const [name, usual] of Object.entries(defaults)) {
      if (JSON.stringify(values[name]) === JSON.stringify(usual)) delete values[name];
    }
    const answers = values.num_candidates ?? defaults.num_candidates;
    if (values.temperatures?.length > answers) {
      return refuse("temperatures", `More temperatures than ${answers} answers can use.`);
    }
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
    const { question: _, ...changes } = values;
    for (const name of Object.keys(changes)) changes[name] = inputs[name].value;
    store(CHANGED, changes);
    const text = JSON.stringify(values);
    if (pending?.text !== text) {
      pending = { text, key: crypto.getRandomValues(new Uint32Array(4)).join("-") };
    }
    const { key } = pending;
    button.disabled = true;
    fill(button, "Looking for passages…");
    try {
      const reply = await sent({ body: values, key });
      if (!reply) return;
      pending = null;
      const { num_candidates, temperatures } = { ...defaults, ...values };
      const at = new Date().toISOString();
      keep({ batch_id: reply.batch_id, body: values, key, at, num_candidates, temperatures });
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
  const others = stored(ASKED, []).filter((one) => one.batch_id !== asked.batch_id);
  store(ASKED, [asked, ...others].slice(0, KEPT));
}

// Storage may be full or forbidden: then nothing is remembered, and all else works.
function stored(name, otherwise) {
  try {
    return JSON.parse(sessionStorage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

function store(name, value) {
  try {
    sessionStorage.setItem(name, JSON.stringify(value));
  } catch {
    // Not remembered.
  }
}
