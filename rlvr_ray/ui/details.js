// One batch with all that explains it.

import { h } from "./dom.js";
import { count, cut, exact, many, outcome, score, time } from "./format.js";
import { reviewed } from "./filters.js";
import { url } from "./http.js";

const passage = (index) => `passage ${index + 1}`;

// The parts to show of a batch, as GET /batches/{id} has it, and of its reviews.
export function details(batch, reviews) {
  const { candidates, outcome: end } = batch;
  const ranked = end !== null && end.chosen !== null && end.chosen !== end.rejected;
  const pair = ranked
    ? [[end.pair ? "Chosen" : "Best", end.chosen], [end.pair ? "Rejected" : "Against it", end.rejected]]
    : [];
  const others = candidates.map((_, index) => index).filter((index) => !pair.some(([, one]) => one === index));
  const answers = others.map((index) => answer(`Answer ${index + 1}`, candidates[index], batch.contexts));
  return [
    verdict(end),
    h(
      "ul",
      { class: "links" },
      h("li", {}, h("a", { href: `#/ask/${encodeURIComponent(batch.batch_id)}` }, "As it was asked")),
      h("li", {}, h("a", { href: url(`/batches/${batch.batch_id}`) }, "JSON")),
      h("li", {}, h("a", { href: url(`/batches/${batch.batch_id}/trace`) }, "Trace")),
    ),
    ranked &&
      h(
        "div",
        { class: "versus" },
        pair.map(([title, index]) => answer(title, candidates[index], batch.contexts)),
      ),
    ranked
      ? answers.length > 0 && folded(`${many(answers.length, "other answer")}`, h("div", { class: "versus" }, answers))
      : h("div", { class: "versus" }, answers),
    batch.references.length > 0 &&
      folded(many(batch.references.length, "right answer"), batch.references.map(text)),
    folded(many(batch.contexts.length, "passage"), passages(batch.contexts)),
    reviews.length > 0 && folded(many(reviews.length, "review"), h("ol", { class: "reviews" }, reviews.map(review))),
    folded("Provenance", provenance(batch, pair)),
  ];
}

// A fold with its heading, closed.
export function folded(title, ...children) {
  return h("details", { class: "fold" }, h("summary", {}, title), children);
}

// A text from outside, in the direction of its own language.
export function text(text) {
  return h("p", { class: "text", dir: "auto" }, text);
}

// Passages as a list; what may lead a reviewer is left out.
export function passages(contexts) {
  return h(
    "ol",
    { class: "passages" },
    contexts.map((context) =>
      h("li", {}, h("p", { class: "source" }, context.metadata.source ?? ""), text(context.content)),
    ),
  );
}

function verdict(end) {
  if (end === null) return h("p", { class: "verdict" }, "Open: its answers are being verified.");
  const word = end.pair ? "Pair" : `No pair, ${outcome(end.reason)}`;
  return h(
    "p",
    { class: `verdict ${end.pair ? "good" : "warn"}` },
    h("strong", {}, word),
    end.detail && `: ${end.detail}`,
  );
}

function answer(title, candidate, contexts) {
  const { verification, metadata } = candidate;
  const measures = verification && [
    verification.faithfulness !== null && `faithfulness ${score(verification.faithfulness)}`,
    verification.relevancy !== null && `relevancy ${score(verification.relevancy)}`,
  ];
  return h(
    "section",
    { class: "answer" },
    h(
      "h3",
      {},
      title,
      h("span", { class: "answer-score" }, verification ? score(verification.score) : "–"),
    ),
    h(
      "p",
      { class: "meta" },
      [`temperature ${metadata.temperature}`, ...(measures ?? ["not verified yet"])].filter(Boolean).join(" · "),
    ),
    verification?.reason && h("p", { class: "wrong" }, `No score: ${verification.reason}`),
    text(candidate.answer),
    verification?.assessments.map((assessment) => assessed(assessment, contexts)),
  );
}

function assessed(assessment, contexts) {
  const { statements } = assessment;
  const supported = statements.filter((statement) => statement.verdict >= 0.5).length;
  const title = [
    `${assessment.verifier || "verifier"} ${score(assessment.score)}`,
    statements.length > 0 && `${supported} of ${many(statements.length, "statement")} supported`,
  ];
  return folded(
    title.filter(Boolean).join(": "),
    assessment.detail && h("p", { class: "meta" }, assessment.detail),
    statements.length > 0 &&
      h("ul", { class: "claims" }, statements.map((one) => statement(one, contexts))),
    assessment.reverse_questions.length > 0 && [
      h("p", { class: "meta" }, "Questions that the answer answers:"),
      h("ul", {}, assessment.reverse_questions.map((one) => h("li", { dir: "auto" }, one))),
    ],
  );
}

function statement({ text: claim, verdict: value, reason, passage: place }, contexts) {
  const known = { 0: "✗ not supported", 1: "✓ supported" };
  const quoted = place && cut(contexts[place.context].content, place.start, place.end)[1];
  return h(
    "li",
    {},
    h("strong", {}, known[value] ?? `${Math.round(100 * value)} % supported`),
    h("span", { class: "text", dir: "auto" }, claim),
    reason && h("span", { class: "meta text", dir: "auto" }, reason),
    quoted && h("q", { class: "text", dir: "auto", title: passage(place.context) }, quoted),
  );
}

function review(one) {
  const said = [one.agreement ?? one.verdict, one.reviewer && `by ${one.reviewer}`, one.at && time(one.at)];
  return h(
    "li",
    {},
    said.filter(Boolean).map((part, index) => [index > 0 && " · ", index ? part : reviewed(part)]),
    one.note && text(one.note),
  );
}

function provenance(batch, pair) {
  const end = batch.outcome;
  const named = pair.length
    ? pair
    : batch.candidates.map((_, index) => [`Answer ${index + 1}`, index]);
  const columns = named.map(([title, index]) => [title, batch.candidates[index]]);
  const facts = [
    ["Batch", batch.batch_id],
    ["Correlation id", batch.correlation_id],
    ["Prompt version", batch.prompt_version],
    ["Asked", time(batch.created_at)],
    ["Decided", end && time(end.decided_at)],
    ["Margin", end && exact(end.score_diff)],
  ];
  return [
    h(
      "dl",
      { class: "facts" },
      facts.filter(([, value]) => value).map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
      end && [
        h("dt", {}, "Rule"),
        h("dd", {}, Object.entries(end.rule).map(([name, value]) => h("div", {}, `${name} = ${value}`))),
      ],
    ),
    h(
      "div",
      { class: "scroll", tabindex: 0, role: "region", "aria-label": "Where the answers come from" },
      h(
        "table",
        {},
        h("caption", { class: "unseen" }, "Where the answers come from"),
        h("thead", {}, h("tr", {}, h("td"), columns.map(([title]) => h("th", { scope: "col" }, title)))),
        h("tbody", {}, origins(columns.map(([, candidate]) => candidate))),
      ),
    ),
  ];
}

function origins(candidates) {
  const line = (name, of) =>
    h("tr", {}, h("th", { scope: "row" }, name), candidates.map((one) => h("td", {}, of(one))));
  const tokens = ({ metadata: { usage } }) =>
    usage && `${count(usage.prompt_tokens)} in, ${count(usage.completion_tokens)} out`;
  const verifiers = ({ verification }) =>
    (verification?.assessments ?? []).map(({ verifier, weight, score: value, judge }) =>
      h(
        "div",
        { class: "verifier" },
        `${verifier || "verifier"}, weight ${weight}: ${exact(value)}`,
        Object.entries(judge)
          .filter(([, said]) => said)
          .map(([name, said]) => h("div", { class: "meta" }, `${name} ${said}`)),
      ),
    );
  return [
    line("Event", (one) => one.metadata.event_id),
    line("Model", (one) => one.metadata.model),
    line("Seed", (one) => one.metadata.seed),
    line("Temperature", (one) => one.metadata.temperature),
    line("Ended by", (one) => one.metadata.finish_reason),
    line("Tokens", tokens),
    line("Score", (one) => exact(one.verification?.score)),
    line("Verifiers", verifiers),
  ];
}
