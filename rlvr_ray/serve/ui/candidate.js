// One answer: its text as it comes, its scores, what was said of each statement.

import { fill, h } from "./dom.js";
import { count, defect, many, score } from "./format.js";

const SUPPORTED = 0.5;

// A column for the answer `index`. `press(passage, button)` is called for a statement.
export function candidateColumn(index, temperature, press) {
  const title = `answer-${index}-title`;
  const tags = h("span", { class: "candidate-tags" });
  const warmth = h("span", { class: "meta temperature" });
  const scores = h("div", { class: "scores" });
  const text = document.createTextNode("");
  const answer = h("p", { class: "answer text writing", "data-testid": `answer-${index}` }, text);
  const judged = h("div", { class: "judged" });
  const element = h(
    "article",
    { class: "candidate", "aria-labelledby": title, "data-testid": `candidate-${index}` },
    h("div", { class: "candidate-head" }, h("h3", { id: title }, `Answer ${index + 1}`), tags, warmth),
    scores,
    answer,
    judged,
  );
  let shown = null;

  function setTemperature(value) {
    if (value !== undefined) warmth.textContent = `temperature ${value}`;
  }

  function setTags(role, cut) {
    fill(
      tags,
      role && h("span", { class: `tag ${role === "chosen" ? "good" : "bad"}` }, role),
      cut && h("span", { class: "tag warn", title: "The token limit ended this answer." }, "cut short"),
    );
    element.classList.toggle("chosen", role === "chosen");
    element.classList.toggle("rejected", role === "rejected");
  }

  function waiting(word) {
    fill(scores, h("p", { class: "score open", "data-testid": `score-${index}` }, word));
  }

  setTemperature(temperature);
  waiting("writing…");
  return {
    element,
    grow(piece) {
      text.appendData(piece);
    },
    restart() {
      text.data = "";
      shown = null;
      answer.classList.add("writing");
      fill(judged);
      setTags(null, false);
      waiting("writing…");
    },
    // Show it as recorded; `role` is "chosen", "rejected" or null. Returns whether its
    // verification is new.
    update({ answer: whole, metadata, verification }, role) {
      answer.classList.remove("writing");
      if (text.data !== whole) text.data = whole;
      if (whole.trim() === "") fill(answer, h("em", { class: "meta" }, "This answer is empty."));
      setTemperature(metadata.temperature);
      setTags(role, metadata.finish_reason === "length");
      const now = JSON.stringify(verification);
      if (now === shown) return false;
      shown = now;
      if (!verification) {
        waiting("verifying…");
        fill(judged, details("Generation", generation(metadata)));
        return false;
      }
      fill(scores, scoresOf(verification, index));
      const counting = verification.assessments.filter((one) => one.weight > 0 && one.statements.length > 0);
      fill(
        judged,
        counting.map((one) => [
          counting.length > 1 && h("h4", { class: "meta" }, named(one)),
          statements(one, press),
        ]),
        verification.assessments.length > 0 &&
          details("Verifiers", verification.assessments.map((one) => assessment(one, press))),
        details("Generation", generation(metadata)),
      );
      return true;
    },
    stop() {
      answer.classList.remove("writing");
      if (shown === null) fill(scores);
    },
  };
}

function scoresOf(verification, index) {
  if (verification.status === "failed") {
    return [
      h("p", { class: "score open warn", "data-testid": `score-${index}` }, "No score"),
      h("p", { class: "meta text failed-reason" }, `The verification failed: ${verification.reason}`),
    ];
  }
  let measures = [
    ["faithfulness", verification.faithfulness],
    ["relevancy", verification.relevancy],
  ].filter(([, value]) => value !== null);
  if (measures.length === 0) {
    measures = verification.assessments.map((one) => [one.verifier || "score", one.score]);
  }
  return [
    h("p", { class: "score", "data-testid": `score-${index}` }, score(verification.score)),
    h(
      "dl",
      { class: "measures" },
      measures.map(([name, value]) => [
        h("dt", {}, name),
        h(
          "dd",
          {},
          h("span", { class: "bar", vars: { "--value": value } }),
          h("span", {}, score(value)),
        ),
      ]),
    ),
    verification.defect &&
      h("p", { class: "defect bad text", "data-testid": `defect-${index}` }, defectOf(verification)),
  ];
}

// What is wrong with the answer, with what the verifier that names it has to say.
function defectOf(verification) {
  const named = verification.assessments.find((one) => one.weight > 0 && one.defect === verification.defect);
  return ["Defect: ", defect(verification.defect), named?.detail && ` (${named.detail})`];
}

function statements(one, press) {
  return h(
    "ul",
    { class: "statements", "aria-label": `Statements, ${named(one)}` },
    one.statements.map((statement) => h("li", {}, statementButton(statement, press))),
  );
}

function statementButton(statement, press) {
  const yes = statement.verdict >= SUPPORTED;
  const between = statement.verdict > 0 && statement.verdict < 1;
  const button = h(
    "button",
    {
      type: "button",
      class: "statement",
      "aria-pressed": "false",
      "data-testid": "statement",
      onclick: () => press(statement.passage, button),
    },
    h("span", { class: `sign ${yes ? "good" : "bad"}`, "aria-hidden": "true" }, yes ? "✓" : "✗"),
    h("span", { class: "text" }, statement.text),
    h(
      "span",
      { class: `verdict ${yes ? "good" : "bad"}` },
      yes ? "supported" : "not supported",
      between && ` ${score(statement.verdict)}`,
    ),
    statement.reason && h("span", { class: "why text" }, statement.reason),
  );
  return button;
}

function details(title, content) {
  return h("details", { class: "meta" }, h("summary", {}, title), content);
}

function named(one) {
  return `${one.verifier || "verifier"}${one.weight === 0 ? " (compared, not counted)" : ""}`;
}

function assessment(one, press) {
  const judge = one.judge ?? {};
  const rows = [
    ["score", score(one.score, 3)],
    ["faithfulness", one.faithfulness !== null && score(one.faithfulness, 3)],
    ["relevancy", one.relevancy !== null && score(one.relevancy, 3)],
    ["defect", one.defect && defect(one.defect)],
    ["weight", one.weight],
    ["judge", [judge.model, judge.engine].filter(Boolean).join(", ")],
    ["embedder", judge.embedder],
    ["version", judge.version],
    ["tokens", one.prompt_tokens > 0 && tokens(one)],
    ["time", `${count(one.duration_ms)} ms`],
  ];
  return h(
    "div",
    { class: "assessment section" },
    h("h4", {}, named(one)),
    one.detail && h("p", { class: "text" }, one.detail),
    figures(rows),
    one.weight === 0 && one.statements.length > 0 && statements(one, press),
    one.reverse_questions?.length > 0 && [
      h("p", {}, "Questions that the answer would answer:"),
      h("ul", {}, one.reverse_questions.map((question) => h("li", { class: "text" }, question))),
    ],
  );
}

function generation(metadata) {
  return figures([
    ["model", metadata.model],
    ["seed", metadata.seed],
    ["ended by", metadata.finish_reason],
    ["tokens", metadata.usage && tokens(metadata.usage)],
    ["event id", metadata.event_id],
  ]);
}

function tokens({ prompt_tokens: read, completion_tokens: written }) {
  return `${count(read)} read, ${many(written, "written", "written")}`;
}

function figures(rows) {
  return h(
    "dl",
    { class: "facts" },
    rows
      .filter(([, value]) => value !== undefined && value !== null && value !== false && value !== "")
      .map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );
}
