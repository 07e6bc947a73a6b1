// Ask a question, and watch what becomes of it.

import { askForm, recent, remembered } from "./ask_form.js";
import { candidateColumn } from "./candidate.js";
import { announce, fill, h, heading } from "./dom.js";
import { outcome as reasonText, score, time } from "./format.js";
import { batchLinks, outcomeCard } from "./outcome.js";
import { counted, passages } from "./passages.js";
import { empty, failure } from "./states.js";
import { watch } from "./watch.js";

export async function show(root, [batchId]) {
  if (batchId === undefined) {
    fill(
      root,
      h("div", { class: "section" }, heading("Ask"), h(
        "p",
        { class: "hint" },
        "One question, several answers at different temperatures. Each is verified; the best and the worst may become a pair.",
      )),
      askForm({}),
      recent(),
    );
    root.querySelector("textarea").focus();
    return undefined;
  }
  return follow(root, batchId);
}

function follow(root, batchId) {
  const asked = remembered(batchId);
  const title = heading(asked?.body.question ?? "Batch");
  title.classList.add("text");
  const doing = h("span", { "data-testid": "stage" });
  const connection = h("span", { class: "tag warn", role: "status", hidden: true }, "reconnecting…");
  const stage = h("p", { class: "stage" }, doing, connection);
  const figures = h("span", {});
  const outcomeSlot = h("div", { class: "outcome-slot" }, stage);
  const columns = h("div", { class: "candidates" });
  const found = h("h2", { id: "passages-title" }, "Passages");
  const list = h("div", {});
  const side = h(
    "section",
    { class: "passages-side section", "aria-labelledby": "passages-title", tabindex: "0", hidden: true },
    found,
    list,
  );
  const answers = h(
    "section",
    { class: "section", "aria-labelledby": "answers-title", hidden: true },
    h("h2", { id: "answers-title" }, "Answers"),
    columns,
  );
  const result = h("div", { class: "result" }, outcomeSlot, answers, side);
  fill(
    root,
    h(
      "div",
      { class: "section" },
      title,
      batchLinks(batchId, figures),
    ),
    result,
    h(
      "details",
      { class: "another" },
      h("summary", {}, "Ask another question"),
      h("div", { class: "section" }, askForm(asked?.body ?? {}), recent(batchId)),
    ),
  );

  const shown = new Map(); // index → column
  let marks = null;
  let listed = "";
  let known = null; // the last state

  function column(index) {
    if (!shown.has(index)) {
      const temperatures = asked?.temperatures;
      const warmth = temperatures && temperatures[index % temperatures.length];
      shown.set(index, candidateColumn(index, warmth, (passage, from) => marks?.mark(passage, from)));
      const inOrder = [...shown.entries()].sort(([a], [b]) => a - b);
      answers.hidden = false;
      columns.replaceChildren(...inOrder.map(([, one]) => one.element));
    }
    return shown.get(index);
  }

  function say(text) {
    doing.textContent = text;
  }

  function contexts(all) {
    const now = JSON.stringify(all);
    if (now === listed) return;
    listed = now;
    marks = passages(all);
    side.hidden = false;
    result.classList.add("with-passages");
    found.textContent = `${counted(all)} found`;
    fill(list, all.length > 0 ? marks.element : empty("No passage was found."));
  }

  function roleOf(outcome, index) {
    if (!outcome?.pair) return null;
    return index === outcome.chosen ? "chosen" : index === outcome.rejected ? "rejected" : null;
  }

  const on = {
    contexts({ contexts: all }) {
      contexts(all);
      say("Writing the answers…");
    },
    piece({ candidate, text }) {
      column(candidate).grow(text);
    },
    restart() {
      for (const one of shown.values()) one.restart();
      known = null;
      say("Writing the answers…");
    },
    state(state) {
      const first = known === null;
      title.textContent = state.question;
      document.title = `${state.question.slice(0, 60)} · rlvr_ray`;
      fill(figures, figuresOf(state));
      contexts(state.contexts);
      const news = [];
      state.candidates.forEach((candidate, index) => {
        const fresh = column(index).update(candidate, roleOf(state.outcome, index));
        if (fresh && !first) news.push(spoken(candidate, index));
      });
      const verified = state.candidates.filter((candidate) => candidate.verification).length;
      if (state.outcome) {
        if (!known?.outcome) {
          fill(outcomeSlot, outcomeCard(state));
          news.push(spokenOutcome(state.outcome));
        }
      } else {
        say(`Verifying: ${verified} of ${state.candidates.length} done`);
        if (first) news.push("All answers are written. They are being verified.");
      }
      known = state;
      if (news.length > 0) announce(news.join(" "));
    },
    failed(problem) {
      remembered(batchId, { failed: true });
      for (const one of shown.values()) one.stop();
      const another = root.querySelector(".another");
      fill(outcomeSlot, failure(problem), h(
        "p",
        { class: "hint" },
        problem.status === 404 ? "" : "Nothing of it is recorded. Ask again below.",
      ));
      another.open = true;
    },
    reconnecting(yes) {
      connection.hidden = !yes;
    },
  };

  say("Looking for it…");
  if (asked) {
    say("Looking for passages…");
    for (let index = 0; index < asked.num_candidates; index += 1) column(index);
  }
  return watch(batchId, on, asked?.failed ? undefined : asked);
}

function figuresOf(state) {
  const models = [...new Set(state.candidates.map((candidate) => candidate.metadata.model))];
  const many = state.references.length;
  return [
    `asked ${time(state.created_at)}`,
    models.join(", "),
    many > 0 && `${many} right answer${many > 1 ? "s" : ""} given`,
  ].filter(Boolean).join(" · ");
}

function spoken({ verification }, index) {
  const name = `Answer ${index + 1}`;
  if (verification.status === "failed") return `${name} could not be scored.`;
  return `${name} scores ${score(verification.score)}.`;
}

function spokenOutcome(outcome) {
  if (!outcome.pair) return `No pair: ${reasonText(outcome.reason)}.`;
  return `Pair: answer ${outcome.chosen + 1} over answer ${outcome.rejected + 1}, margin ${score(outcome.score_diff)}.`;
}
