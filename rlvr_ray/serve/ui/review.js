// The view in which a person says which answer of a pair is the better one.
//
// It is blind: until the verdict is recorded, neither the page nor this module has a score, a
// temperature or the judge's choice. A verdict is never changed: another one on the same pair is
// recorded beside it, and the latest counts.

import { folded } from "./details.js";
import { announce, fill, h, heading } from "./dom.js";
import { asked, described, filtersOf, without } from "./filters.js";
import { count, many, score } from "./format.js";
import { get, Problem, send } from "./http.js";
import { passages } from "./passages.js";
import { reviewHelp } from "./review_help.js";
import { empty, failure, loading } from "./states.js";

const LOOK_MS = 2000; // for which a pair stays after its verdict, with what the judge said of it
const SEEN = 20; // pairs of this visit that are not drawn again while they wait for a verdict
const VERDICTS = { a: "a", b: "b", t: "tie", d: "discard" };
const WORDS = { a: "A is better", b: "B is better", tie: "a tie", discard: "discarded" };

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
  // A pair on the page: {pair, verdict, note, judged, sent, key}; verdict is null until one is
  // recorded.
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
    this.help = reviewHelp();
    this.progress = h("p", { "data-testid": "review-progress" });
    this.agreement = h("p", { class: "meta", "data-testid": "review-agreement" });
    this.status = h("p", {
      class: "review-status",
      role: "status",
      "data-testid": "review-status",
    });
    this.before = h("p", { class: "meta" }); // of the pair before, for who looked away
    this.trouble = h("div", { class: "review-trouble" });
    this.stage = h("div", { class: "section" });
    this.question = h("h2", {
      class: "text review-question",
      dir: "auto",
      tabindex: -1,
      "data-testid": "review-question",
    });
    const words = described(this.#filters);
    return [
      h("div", { class: "split" }, heading("Review"), this.progress, this.agreement),
      words &&
        h("p", { class: "meta" }, `Only: ${words}. `, h("a", { href: "#/review" }, "All pairs")),
      this.stage,
      this.#controls(),
      this.help.element,
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
    const button = (name, title, letter, onclick) =>
      h(
        "button",
        {
          type: "button",
          "aria-keyshortcuts": letter,
          "data-testid": `review-${name}`,
          onclick,
        },
        title,
        key(letter),
      );
    const verdict = (name, title, letter) => button(name, title, letter, () => this.#say(name));
    this.verdicts = {
      a: verdict("a", "A is better", "A"),
      b: verdict("b", "B is better", "B"),
      tie: verdict("tie", "Tie", "T"),
      discard: verdict("discard", "Discard", "D"),
    };
    this.back = button("back", "Back", "U", () => this.#back());
    this.on = button("next", "Next", "Enter", () => this.#next());
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
      this.before,
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

  async #summary() {
    try {
      const { signal } = this.#stopped;
      const found = await get(`/reviews/summary?${this.#filters}`, { signal });
      fill(this.progress, `${count(found.reviewed)} reviewed, ${count(found.left)} left`);
      fill(this.agreement, agreed(found));
    } catch {
      // The figures are for interest; what matters fails by itself, and says so.
    }
  }

  #fetch() {
    const search = new URLSearchParams(this.#filters);
    const known = [...this.#past, ...this.#future, this.#item];
    for (const item of known.slice(-SEEN)) if (item) search.append("seen", item.pair.batch_id);
    const found = get(`/reviews/next?${search}`, { signal: this.#stopped.signal });
    found.catch(() => {}); // whoever waits for it hears of it
    return found;
  }

  // On to the next pair: one that was left by going back, or another one.
  async #next() {
    if (this.#busy) return;
    this.#stay();
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
      this.#put(this.#item); // it is still here
      return;
    }
    if (!this.#past.length) return;
    if (this.#item) {
      this.#item.note = this.note.value;
      this.#future.push(this.#item);
    }
    this.#put(this.#past.pop());
  }

  // Do not go on by itself.
  #stay() {
    clearTimeout(this.#look);
    this.#look = 0;
  }

  // Show a pair; null: there is none.
  #put(item) {
    this.#stay();
    this.#item = item;
    fill(this.trouble);
    this.#usable(item !== null);
    if (item === null) {
      fill(this.stage, this.#nothing());
      return;
    }
    this.note.value = item.note;
    const word = WORDS[item.verdict];
    const said = word && `You said: ${word}. Another verdict counts instead.`;
    fill(this.status, said);
    const last = this.#past.at(-1);
    fill(this.before, !said && last?.verdict && `Before: ${told(last)}`);
    this.#draw();
    announce(`${item.verdict ? "Back" : "Next"}: ${item.pair.question}`);
  }

  #usable(can) {
    this.bar.hidden = !can;
    this.form.hidden = !can;
  }

  #nothing() {
    const button = (title, onclick) => h("button", { type: "button", onclick }, title);
    const links = [
      button("Look again", () => this.#next()),
      this.#past.length > 0 && button("Back to the last one", () => this.#back()),
      h("a", { href: "#/dataset?review=disagree" }, "Where human and judge disagree"),
    ];
    return empty("No pair is left to review.", h("span", { class: "toolbar" }, links));
  }

  #draw() {
    const { pair, verdict, judged } = this.#item;
    const contexts = folded(many(pair.contexts.length, "passage"), passages(pair.contexts).element);
    contexts.open = !this.#folded;
    contexts.addEventListener("toggle", () => (this.#folded = !contexts.open));
    const side = (letter) => {
      const judge = judged?.[letter];
      const chosen = judge?.chosen ? "chosen" : "";
      return h(
        "section",
        { class: `answer ${chosen}`, "aria-labelledby": `answer-${letter}` },
        h("h3", { id: `answer-${letter}` }, letter.toUpperCase()),
        h("p", { class: "text", dir: "auto" }, pair[letter].answer),
        judge &&
          h(
            "p",
            { class: "meta" },
            judge.chosen && h("strong", {}, "The judge’s choice · "),
            `score ${score(judge.score)} · temperature ${judge.temperature}`,
          ),
      );
    };
    fill(this.question, pair.question);
    fill(
      this.stage,
      this.question,
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
    const { signal } = this.#stopped;
    item.note = this.note.value.trim();
    this.#busy = true;
    this.bar.setAttribute("aria-busy", "true");
    fill(this.trouble);
    try {
      await this.#send(item, verdict);
      item.verdict = verdict;
      // Only now, what the judge said; without it the verdict is no less recorded.
      const batch = await get(`/batches/${item.pair.batch_id}`, { signal }).catch(() => null);
      item.judged = batch && judgement(item.pair, batch);
    } catch (error) {
      if (signal.aborted) return;
      fill(this.status, `Not recorded: ${WORDS[verdict]}. It is kept here until it can be sent.`);
      fill(this.trouble, failure(error, () => this.#item === item && this.#say(verdict)));
      // What the server refuses may never be taken.
      this.on.hidden = !(error instanceof Problem);
      return;
    } finally {
      this.#busy = false;
      this.bar.removeAttribute("aria-busy");
    }
    if (signal.aborted) return;
    fill(this.before);
    fill(this.status, `Recorded: ${told(item)}`);
    this.#summary();
    this.#look = setTimeout(() => this.#next(), LOOK_MS);
    this.#draw();
  }

  // Sent again after a failure, it has the same key: it is recorded once.
  async #send(item, verdict) {
    const review = {
      batch_id: item.pair.batch_id,
      a: item.pair.a.candidate,
      b: item.pair.b.candidate,
      verdict,
      note: item.note,
      reviewer: this.help.reviewer(),
    };
    const text = JSON.stringify(review);
    if (item.sent !== text) {
      item.sent = text;
      item.key = crypto.getRandomValues(new Uint32Array(4)).join("-");
    }
    await send("POST", "/reviews", review, { headers: { "Idempotency-Key": item.key } });
    item.sent = null; // said again later, it is another one
  }

  #noteKey(event) {
    if (event.isComposing) return;
    if (event.key === "Escape") this.#leave();
    else if (event.key === "Enter" && !event.shiftKey) this.form.requestSubmit();
    else return;
    event.preventDefault();
  }

  #leave() {
    this.question.focus({ preventScroll: true });
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
    } else if (!this.help.letters()) return;
    else if (key === "?") this.help.toggle();
    else if (key === "u") this.#back();
    else if (key === "n" && this.#item) {
      this.#stay(); // writing takes its time
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

// The verdict and, where it is known, the judge's word on it.
function told({ verdict, judged }) {
  return `${WORDS[verdict]}. ${judged ? compared(verdict, judged) : ""}`;
}

function compared(verdict, judged) {
  const margin = `margin ${score(judged.margin)}`;
  if (verdict === "tie" || verdict === "discard") {
    return `The judge chose ${judged.a.chosen ? "A" : "B"} (${margin}).`;
  }
  return `The judge ${judged[verdict].chosen ? "agrees" : "disagrees"} (${margin}).`;
}

function agreed({ agree, disagree, agreement, low, high }) {
  if (agreement === null) return "No answer has been preferred yet.";
  const percent = (share) => Math.round(100 * share);
  return (
    `Human and judge agree in ${percent(agreement)} % ` +
    `(${count(agree)} of ${count(agree + disagree)}; ` +
    `95 % interval ${percent(low)} to ${percent(high)} %)`
  );
}
