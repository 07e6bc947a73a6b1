// One batch with all that explains it, for the dataset's panel.

import { candidateColumn } from "./candidate.js";
import { h } from "./dom.js";
import { reviewed } from "./filters.js";
import { many, outcome, time } from "./format.js";
import { batchLinks, outcomeCard } from "./outcome.js";
import { passages } from "./passages.js";

// The parts to show of a batch, as GET /batches/{id} has it, and of what people said of it.
export function details(batch, reviews) {
  const { outcome: end } = batch;
  const found = passages(batch.contexts);
  const contexts = folded(many(batch.contexts.length, "passage"), found.element);
  const press = (passage, button) => {
    contexts.open = true;
    found.mark(passage, button);
  };
  const column = (index) => {
    const candidate = batch.candidates[index];
    const role = end?.pair ? { [end.chosen]: "chosen", [end.rejected]: "rejected" }[index] : null;
    const one = candidateColumn(index, candidate.metadata.temperature, press);
    one.update(candidate, role ?? null);
    return one.element;
  };
  const all = batch.candidates.map((_, index) => index);
  const compared = end && end.chosen !== null ? [end.chosen, end.rejected] : all;
  const others = all.filter((index) => !compared.includes(index));
  return [
    verdict(end),
    batchLinks(batch.batch_id),
    h("div", { class: "candidates" }, compared.map(column)),
    others.length > 0 &&
      folded(
        many(others.length, "other answer"),
        h("div", { class: "candidates" }, others.map(column)),
      ),
    end && folded("How it was decided", outcomeCard(batch)),
    contexts,
    reviews.length > 0 &&
      folded(many(reviews.length, "review"), h("ol", { class: "section" }, reviews.map(review))),
    folded("Provenance", provenance(batch)),
  ];
}

// A part that opens.
export function folded(title, ...children) {
  return h("details", {}, h("summary", {}, title), children);
}

function verdict(end) {
  if (!end) return h("p", {}, "Open: its answers are being verified.");
  const word = end.pair ? "Pair" : `No pair, ${outcome(end.reason)}`;
  return h(
    "p",
    { class: "text" },
    h("strong", { class: end.pair ? "good" : "warn" }, word),
    end.detail && `: ${end.detail}`,
  );
}

function review(one) {
  const rest = [one.reviewer, time(one.reviewed_at)].filter(Boolean).join(", ");
  return h(
    "li",
    {},
    reviewed(one.review),
    h("span", { class: "meta" }, ` ${rest}`),
    one.note && h("p", { class: "text" }, one.note),
  );
}

function provenance(batch) {
  const lines = [
    ["correlation id", batch.correlation_id],
    ["prompt version", batch.prompt_version],
    ["asked", time(batch.created_at)],
    ["decided", batch.outcome && time(batch.outcome.decided_at)],
    ["right answers", batch.references.map((one) => h("p", { class: "text" }, one))],
  ];
  return h(
    "dl",
    { class: "facts" },
    lines
      .filter(([, value]) => value && value.length > 0)
      .map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );
}
