// How a batch ended: the pair, or why there is none, with the figures that decided.

import { h } from "./dom.js";
import { defect, exact, outcome as reasonText, time } from "./format.js";
import { url } from "./http.js";

// The card for a decided batch.
export function outcomeCard(batch) {
  const { outcome } = batch;
  const title = outcome.pair ? "Pair" : `No pair: ${reasonText(outcome.reason)}`;
  return h(
    "section",
    {
      class: `outcome ${outcome.pair ? "pair" : "none"}`,
      "aria-labelledby": "outcome-title",
      "data-testid": "outcome",
    },
    h(
      "div",
      { class: "section" },
      h("h2", { id: "outcome-title" }, title),
      !outcome.pair && why(batch),
      checks(batch),
      scale(batch),
    ),
    h(
      "div",
      { class: "section" },
      sides(batch),
      h("p", { class: "meta text" }, [`Decided ${time(outcome.decided_at)}`, outcome.pair && outcome.detail].filter(Boolean).join(": ")),
      h(
        "details",
        { class: "meta" },
        h("summary", {}, "The rule in force"),
        h(
          "dl",
          { class: "facts" },
          Object.entries(outcome.rule).map(([name, value]) => [h("dt", {}, name), h("dd", {}, String(value))]),
        ),
      ),
    ),
  );
}

// The places where a batch can be had.
export function batchLinks(batchId, facts) {
  const path = `/batches/${encodeURIComponent(batchId)}`;
  return h(
    "p",
    { class: "links meta" },
    facts,
    h("a", { href: `#/ask/${encodeURIComponent(batchId)}`, "data-testid": "permalink" }, "Permalink"),
    h("a", { href: url(path), "data-testid": "json" }, "JSON"),
    h("a", { href: url(`${path}/trace`) }, "Trace"),
    h("span", { class: "mono" }, batchId),
  );
}

// The reason in a sentence; where answers have no score, by the numbers that they have on this page.
function why({ candidates, outcome }) {
  const failed = candidates
    .map(({ verification }, index) => [index, verification?.status === "failed" && verification.reason])
    .filter(([, reason]) => reason);
  if (outcome.reason === "unscored" && failed.length > 0) {
    return h(
      "ul",
      {},
      failed.map(([index, reason]) => h("li", { class: "text" }, `Answer ${index + 1}: ${reason}`)),
    );
  }
  return outcome.detail && h("p", { class: "text" }, sentence(outcome.detail));
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}.`.replace(/\.\.$/, ".");
}

// What the rule asks, and whether it is so.
function checks({ candidates, outcome }) {
  const { rule, score_diff: margin, chosen_score: best } = outcome;
  if (margin === null) return null;
  const chosen = candidates[outcome.chosen].verification;
  const lines = [
    ["margin", margin, rule.min_score_diff],
    ["best score", best, rule.min_chosen_score],
    ["its faithfulness", chosen?.faithfulness, rule.min_chosen_faithfulness],
    ["its relevancy", chosen?.relevancy, rule.min_chosen_relevancy],
  ].filter(([, value, limit]) => typeof value === "number" && typeof limit === "number");
  return h(
    "ul",
    { class: "checks" },
    lines.map(([name, value, limit]) => {
      const holds = value >= limit;
      return h(
        "li",
        {},
        h("span", { class: holds ? "good" : "bad", "aria-hidden": "true" }, holds ? "✓" : "✗"),
        ` ${name} `,
        h("strong", {}, exact(value)),
        h("span", { class: "meta" }, ` (at least ${exact(limit)} needed)`),
      );
    }),
  );
}

// All scores on one line from 0 to 1. For the eye only: the table says the same.
function scale({ candidates, outcome }) {
  const scored = candidates
    .map((candidate, index) => ({ index, value: candidate.verification?.score ?? null }))
    .filter(({ value }) => value !== null)
    .sort((a, b) => a.value - b.value);
  if (outcome.chosen === null || scored.length < 2) return null;
  let level = 0;
  let before = -1;
  for (const one of scored) {
    level = one.value - before < 0.05 ? level + 1 : 0;
    before = one.value;
    one.level = level;
  }
  const place = ({ index }) =>
    index === outcome.chosen ? "chosen" : index === outcome.rejected ? "rejected" : "";
  const limit = outcome.rule.min_chosen_score;
  const levels = Math.max(...scored.map((one) => one.level));
  return h(
    "div",
    { class: "scale", "aria-hidden": "true", vars: { "--levels": levels } },
    h("span", {
      class: "between",
      vars: { "--at": outcome.rejected_score, "--to": outcome.chosen_score },
    }),
    typeof limit === "number" && [
      h("span", { class: "limit", vars: { "--at": limit } }),
      limit > 0.05 && limit < 0.95 && h("span", { class: "tick", vars: { "--at": limit } }, limit),
    ],
    scored.map((one) =>
      h(
        "span",
        { class: `dot ${place(one)}`, vars: { "--at": one.value, "--level": one.level } },
        h("span", {}, one.index + 1),
      ),
    ),
    [0, 1].map((at) => h("span", { class: "tick", vars: { "--at": at } }, at)),
  );
}

function sides({ candidates, outcome }) {
  if (outcome.chosen === null || outcome.rejected === null) return null;
  const names = outcome.pair ? ["chosen", "rejected"] : ["best", "against"];
  const row = (name, index, value) => {
    const { metadata, verification } = candidates[index];
    return h(
      "tr",
      {},
      h("th", { scope: "row" }, name),
      h("td", {}, `answer ${index + 1}`),
      h("td", { class: "num extra" }, metadata.temperature),
      h("td", { class: "num extra" }, exact(verification?.faithfulness)),
      h("td", { class: "num extra" }, exact(verification?.relevancy)),
      h("td", { class: "num" }, h("strong", {}, exact(value))),
      h("td", {}, verification?.defect ? defect(verification.defect) : "–"),
    );
  };
  const head = (text, kind = "num") => h("th", { scope: "col", class: kind }, text);
  return h(
    "div",
    { class: "scroll", tabindex: "0", role: "group", "aria-label": "The two answers, table" },
    h(
      "table",
      { class: "sides" },
      h("caption", { class: "unseen" }, "The two answers that were compared"),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          h("td"),
          head("Answer", ""),
          head("Temperature", "num extra"),
          head("Faithfulness", "num extra"),
          head("Relevancy", "num extra"),
          head("Score"),
          head("Defect", ""),
        ),
      ),
      h(
        "tbody",
        {},
        row(names[0], outcome.chosen, outcome.chosen_score),
        row(names[1], outcome.rejected, outcome.rejected_score),
      ),
    ),
  );
}
