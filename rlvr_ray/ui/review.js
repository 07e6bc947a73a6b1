// The view in which a person says which answer of a pair is the better one.
//
// It is blind: until the verdict is recorded, neither the page nor this module has a score, a
// temperature or the judge's choice. A verdict is never changed: another one on the same pair is
// recorded beside it, and the latest counts.

import { folded, passages, text } from "./details.js";
import { announce, fill, h, heading } from "./dom.js";
import { asked, described, filtersOf, without } from "./filters.js";
import { count, many, score } from "./format.js";
import { get, send } from "./http.js";
import { empty, failure, loading } from "./states.js";

const LOOK_MS = 2000; // for which a pair stays after its verdict, with what the judge said of it
const VERDICTS = { a: "a", b: "b", t: "tie", d: "discard" };
const WORDS = { a: "A is better", b: "B is better", tie: "a tie", discard: "discard" };
const KEYS = [
  ["A  B", "This answer is the better one"],
  ["T", "A tie: neither is better"],
  ["D", "Discard: the pair is of no use"],
  ["N", "Write a note; Enter or Esc leaves it"],
  ["U", "Back to the pair before; another verdict there counts instead"],
  ["Enter", "On to the next pair, without waiting"],
  ["?", "Show or hide this"],
];

// Keys are letters to whoever is writing.
const FIELDS = "input:not([type=checkbox]), textarea, select, [contenteditable]";
// What does something of its own with Enter.
const CONTROLS = `${FIELDS}, a, button, summary, input`;

export async function show(root) {
  const view = new Review(without(filtersOf(asked()), "review", "outcome"));
  fill(root, view.elements());
  view.start();
  return () => view.close();
}

class Review {
  #filters;
  // A pair on the page: {pair, verdict, note, judged}; verdict is null until one is recorded.
  #item = null;
  #past = [];
  #future = []; // left by going back
  #coming = null; // a promise of the pair after this one
  #look = 0;
  #busy = false;
  #folded = true;
  #stopped = new AbortController();

  constructor(filters) {
    this.#filters = filters;
  }

  elements() {
    this.progress = h("p", { "data-testid": "review-progress" });
    this.agreement = h("p", { class: "meta", "data-testid": "review-agreement" });
    this.status = h("p", { class: "review-status", role: "status", "data-testid": "review-status" });
    this.trouble = h("div", { class: "review-trouble" });
    this.stage = h("div", { class: "section", "aria-live": "off" });
    const words = described(this.#filters);
    return [
      h("div", { class: "split" }, heading("Review"), this.progress, this.agreement),
      words && h("p", { class: "meta" }, `Only: ${words}. `, h("a", { href: "#/review" }, "All pairs")),
      this.stage,
      this.#controls(),
      this.#help(),
    ];
  }

  start() {
    const { signal } = this.#stopped;
    document.addEventListener("keydown", (event) => this.#key(event), { signal });
    this.#usable(false);
    this.#summary();
    this.#next();
  }

  close() {
    clearTimeout(this.#look);
    this.#stopped.abort();
  }

  #controls() {
    const key = (letter) => h("kbd", { "aria-hidden": "true" }, letter);
    const button = (verdict, title, letter) =>
      h(
        "button",
        {
          type: "button",
          "aria-pressed": "false",
          "aria-keyshortcuts": letter,
          "data-testid": `review-${verdict}`,
          onclick: () => this.#say(verdict),
        },
        title,
        key(letter),
      );
    this.verdicts = {
      a: button("a", "A is better", "A"),
      b: button("b", "B is better", "B"),
      tie: button("tie", "Tie", "T"),
      discard: button("discard", "Discard", "D"),
    };
    this.back = h(
      "button",
      { type: "button", "aria-keyshortcuts": "U", "data-testid": "review-back", onclick: () => this.#back() },
      "Back",
      key("U"),
    );
    this.on = h(
      "button",
      { type: "button", "aria-keyshortcuts": "Enter", "data-testid": "review-next", onclick: () => this.#next() },
      "Next",
      key("Enter"),
    );
    this.note = h("textarea", {
      id: "review-note",
      rows: 1,
      maxlength: 2000,
      "aria-keyshortcuts": "N",
      "data-testid": "review-note",
      onkeydown: (event) => this.#noteKey(event),
    });
    this.bar = h(
      "div",
      { class: "review-bar", role: "group", "aria-label": "Your verdict" },
      this.status,
      this.trouble,
      h("div", { class: "review-buttons" }, Object.values(this.verdicts), this.back, this.on),
    );
    this.form = h(
      "form",
      {
        class: "review-note",
        onsubmit: (event) => {
          event.preventDefault();
          this.#noted();
        },
      },
      h("label", { for: "review-note" }, "Note ", key("N")),
      this.note,
    );
    return [this.bar, this.form];
  }

  #help() {
    this.name = h("input", {
      id: "reviewer",
      type: "text",
      maxlength: 100,
      autocomplete: "nickname",
      "data-testid": "reviewer",
      onchange: () => remember("reviewer", this.name.value.trim()),
    });
    this.name.value = remembered("reviewer");
    this.letters = h("input", {
      id: "letters",
      type: "checkbox",
      checked: remembered("letters") !== "off",
      onchange: () => remember("letters", this.letters.checked ? "on" : "off"),
    });
    this.help = h(
      "details",
      { "data-testid": "review-keys" },
      h("summary", {}, "Keys and your name ", h("kbd", { "aria-hidden": "true" }, "?")),
      h(
        "div",
        { class: "section" },
        h("dl", { class: "facts" }, KEYS.map(([key, does]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, does)])),
        h("div", { class: "check" }, this.letters, h("label", { for: "letters" }, "Use letters as keys")),
        h(
          "div",
          { class: "field review-name" },
          h("label", { for: "reviewer" }, "Your name"),
          this.name,
          h("p", { class: "hint" }, "It is recorded with each verdict; this browser remembers it."),
        ),
      ),
    );
    return this.help;
  }

  async #summary() {
    try {
      const found = await get("/reviews/summary", { signal: this.#stopped.signal });
      fill(this.progress, `${count(found.reviewed)} reviewed, ${count(found.left)} left`);
      fill(this.agreement, agreed(found));
    } catch {
      // The figures are for interest; what matters fails by itself, and says so.
    }
  }

  #fetch() {
    const search = new URLSearchParams(this.#filters);
    const known = [...this.#past, ...this.#future, this.#item];
    for (const item of known.slice(-20)) if (item) search.append("seen", item.pair.batch_id);
    const found = get(`/reviews/next?${search}`, { signal: this.#stopped.signal });
    found.catch(() => {}); // whoever waits for it hears of it
    return found;
  }

  // On to the next pair: one that was left by going back, or another one.
  async #next() {
    clearTimeout(this.#look);
    this.#look = 0;
    if (this.#busy) return;
    if (this.#item) this.#past.push(this.#item);
    this.#item = null;
    if (this.#future.length) {
      this.#put(this.#future.pop());
      return;
    }
    this.#busy = true;
    if (!this.#coming) fill(this.stage, loading());
    try {
      const pair = await (this.#coming ?? this.#fetch());
      this.#put(pair && { pair, verdict: null, note: "", judged: null });
    } catch (error) {
      if (error.name === "AbortError") return;
      this.#usable(false);
      fill(this.stage, failure(error, () => this.#next()));
    } finally {
      this.#busy = false;
      this.#coming = null;
    }
    if (this.#item) this.#coming = this.#fetch();
  }

  #back() {
    if (this.#busy) return;
    if (this.#look) {
      // The pair is still here.
      clearTimeout(this.#look);
      this.#look = 0;
      this.#put(this.#item);
      return;
    }
    if (!this.#past.length) return;
    if (this.#item) {
      this.#item.note = this.note.value;
      this.#future.push(this.#item);
    }
    this.#put(this.#past.pop());
  }

  // Show a pair; null: there is none.
  #put(item) {
    this.#item = item;
    fill(this.trouble);
    this.#usable(item !== null);
    if (item === null) {
      fill(this.stage, this.#nothing());
      return;
    }
    this.note.value = item.note;
    if (item.verdict) fill(this.status, `You said: ${WORDS[item.verdict]}. Another verdict counts instead.`);
    this.#draw();
    announce(`${item.verdict ? "Back" : "Next"}: ${item.pair.question}`);
  }

  #usable(can) {
    this.bar.hidden = !can;
    this.form.hidden = !can;
  }

  #nothing() {
    const links = [
      h("button", { type: "button", onclick: () => this.#next() }, "Look again"),
      this.#past.length > 0 && h("button", { type: "button", onclick: () => this.#back() }, "Back to the last one"),
      h("a", { href: "#/dataset?review=disagree" }, "Where human and judge disagree"),
    ];
    return empty("No pair is left to review.", h("span", { class: "toolbar" }, links));
  }

  #draw() {
    const { pair, verdict, judged } = this.#item;
    const contexts = folded(many(pair.contexts.length, "passage"), passages(pair.contexts));
    contexts.open = !this.#folded;
    contexts.addEventListener("toggle", () => (this.#folded = !contexts.open));
    const side = (letter) => {
      const judge = judged?.[letter];
      return h(
        "section",
        { class: `answer ${judge?.chosen ? "preferred" : ""}`, "aria-labelledby": `answer-${letter}` },
        h("h3", { id: `answer-${letter}` }, letter.toUpperCase()),
        text(pair[letter].answer),
        judge &&
          h(
            "p",
            { class: "meta" },
            judge.chosen && h("strong", {}, "The judge’s choice · "),
            `score ${score(judge.score)} · temperature ${judge.temperature}`,
          ),
      );
    };
    fill(
      this.stage,
      h("h2", { class: "text review-question", dir: "auto", tabindex: -1, "data-testid": "review-question" }, pair.question),
      contexts,
      h("div", { class: "versus" }, side("a"), side("b")),
    );
    for (const [name, button] of Object.entries(this.verdicts)) {
      button.setAttribute("aria-pressed", String(name === verdict));
    }
    this.on.hidden = verdict === null;
    this.back.disabled = !this.#past.length && !this.#look;
  }

  async #say(verdict) {
    if (this.#busy || !this.#item) return;
    if (this.#look) {
      // It is for a pair that is not on the page yet: nobody judges what he has not seen.
      this.#next();
      return;
    }
    const item = this.#item;
    item.note = this.note.value.trim();
    this.#busy = true;
    this.bar.setAttribute("aria-busy", "true");
    fill(this.trouble);
    try {
      await send("POST", "/reviews", {
        batch_id: item.pair.batch_id,
        a: item.pair.a.candidate,
        b: item.pair.b.candidate,
        verdict,
        note: item.note,
        reviewer: this.name.value.trim(),
      });
    } catch (error) {
      fill(this.status, `Not recorded: ${WORDS[verdict]}. It is kept here until it can be sent.`);
      fill(this.trouble, failure(error, () => this.#item === item && this.#say(verdict)));
      return;
    } finally {
      this.#busy = false;
      this.bar.removeAttribute("aria-busy");
    }
    item.verdict = verdict;
    await this.#tell(item);
  }

  // What was recorded, and only now what the judge said.
  async #tell(item) {
    const batch = await get(`/batches/${item.pair.batch_id}`).catch(() => null);
    if (this.#stopped.signal.aborted) return;
    item.judged = batch && judgement(item.pair, batch);
    fill(this.status, `Recorded: ${WORDS[item.verdict]}. `, item.judged && compared(item.verdict, item.judged));
    this.#summary();
    this.#look = setTimeout(() => this.#next(), LOOK_MS);
    this.#draw();
  }

  #noteKey(event) {
    if (event.isComposing) return;
    if (event.key === "Escape") this.#leave();
    else if (event.key === "Enter" && !event.shiftKey) this.form.requestSubmit();
    else return;
    event.preventDefault();
  }

  #leave() {
    this.stage.querySelector(".review-question")?.focus({ preventScroll: true });
  }

  // A note goes with the verdict; where that is recorded already, both are recorded anew.
  #noted() {
    const item = this.#item;
    this.#leave();
    if (!item?.verdict) fill(this.status, "The note goes with your verdict.");
    else if (item.note !== this.note.value.trim()) this.#say(item.verdict);
  }

  #key(event) {
    const { target } = event;
    if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || event.isComposing) return;
    if (target.closest(FIELDS)) return;
    const key = event.key.toLowerCase();
    if (key === "enter") {
      if (!this.#item?.verdict || target.closest(CONTROLS)) return;
      this.#next();
    } else if (!this.letters.checked) return;
    else if (key === "?") this.help.open = !this.help.open;
    else if (key === "u") this.#back();
    else if (key === "n" && this.#item) {
      clearTimeout(this.#look); // writing takes its time
      this.#look = 0;
      this.note.focus();
    } else if (Object.hasOwn(VERDICTS, key)) this.#say(VERDICTS[key]);
    else return;
    event.preventDefault();
  }
}

// What the judge said of A and B, and the margin.
function judgement(pair, batch) {
  const side = ({ candidate }) => ({
    chosen: candidate === batch.outcome.chosen,
    score: batch.candidates[candidate].verification.score,
    temperature: batch.candidates[candidate].metadata.temperature,
  });
  return { a: side(pair.a), b: side(pair.b), margin: batch.outcome.score_diff };
}

function compared(verdict, judged) {
  const margin = `margin ${score(judged.margin)}`;
  if (verdict === "tie" || verdict === "discard") {
    return `The judge chose ${judged.a.chosen ? "A" : "B"} (${margin}).`;
  }
  return `The judge ${judged[verdict].chosen ? "agrees" : "disagrees"} (${margin}).`;
}

function agreed({ agree, disagree, agreement, low, high }) {
  if (agreement === null) return "Nobody has preferred an answer yet.";
  const percent = (share) => Math.round(100 * share);
  return (
    `Human and judge agree in ${percent(agreement)} % ` +
    `(${count(agree)} of ${count(agree + disagree)}; 95 % interval ${percent(low)} to ${percent(high)} %)`
  );
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
