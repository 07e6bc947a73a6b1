// A histogram with a threshold: how many batches it would keep, exact from the server's counts.
//
// The server counts by hundredths, so a threshold of a hundredth cuts between two counts.

import { fill, h, svg } from "./dom.js";
import { count } from "./format.js";

const HEIGHT = 40; // of the picture, whose width is one per count
const HIGHEST = 99; // 1.0 shares the last count with 0.99, so no threshold lies between them

// How many values are at least cut/100.
export function kept(counts, cut) {
  let sum = 0;
  for (let place = cut; place < counts.length; place += 1) sum += counts[place];
  return sum;
}

// Where the middle value is counted; null where there are no values.
export function median(counts) {
  let left = kept(counts, 0) / 2;
  if (!left) return null;
  return counts.findIndex((one) => (left -= one) <= 0);
}

// The outline of the bars from `first` up to `last`, which it leaves out.
export function bars(counts, first, last) {
  const most = Math.max(...counts);
  let outline = "";
  for (let place = first; place < last; place += 1) {
    if (!counts[place]) continue;
    // What is there must be seen, however much there is elsewhere.
    const height = Math.max(0.8, (counts[place] / most) * HEIGHT).toFixed(2);
    outline += `M${place} ${HEIGHT}v-${height}h.85v${height}z`;
  }
  return outline;
}

const hundredths = (text) => Math.round(Number(text) * 100);
const decimal = (cut) => (cut / 100).toFixed(2);

// A histogram called `title`; `name` goes into its ids and data-testids. `use(minimum)` is called
// with the threshold, as text, when it is to become a filter. `show(found, minimum)` shows what the
// server counted; `minimum` is the filter in force, "" where there is none. `fail(error)` says why
// there are no counts.
export function histogram({ name, title, use }) {
  let counts = [];
  let total = 0;

  const left = svg("path", { class: "bars-left" });
  const stays = svg("path", { class: "bars-kept" });
  const picture = svg(
    "svg",
    { class: "bars", role: "img", viewBox: `0 0 100 ${HEIGHT}`, preserveAspectRatio: "none" },
    left,
    stays,
  );
  const figures = h("span", { class: "meta" });
  const slider = h("input", {
    type: "range",
    min: "0",
    max: decimal(HIGHEST),
    step: "0.01",
    value: "0",
    id: `threshold-${name}`,
    "data-testid": `threshold-${name}`,
    oninput: draw,
  });
  const cutoff = h("strong", { class: "histogram-cut" });
  const answer = h("output", { for: slider.id, "data-testid": `would-keep-${name}` });
  const button = h(
    "button",
    {
      type: "button",
      "data-testid": `use-${name}`,
      onclick: () => use(decimal(hundredths(slider.value))),
    },
    "Use as filter",
  );
  const rows = h("tbody");
  const element = h(
    "section",
    {
      class: "histogram",
      "aria-labelledby": `histogram-${name}`,
      "data-testid": `histogram-${name}`,
    },
    h("div", { class: "histogram-head" }, h("h2", { id: `histogram-${name}` }, title), figures),
    picture,
    slider,
    h(
      "div",
      { class: "histogram-axis", "aria-hidden": "true" },
      ["0", "0.25", "0.5", "0.75", "1"].map((mark) => h("span", {}, mark)),
    ),
    h(
      "div",
      { class: "histogram-foot" },
      h("label", { for: slider.id }, `${title} at least `, cutoff),
      answer,
      button,
    ),
    h(
      "details",
      {},
      h("summary", {}, "As a table"),
      h(
        "table",
        {},
        h("caption", { class: "unseen" }, `Batches by ${title.toLowerCase()}`),
        h(
          "thead",
          {},
          h("tr", {}, [
            h("th", { scope: "col" }, title),
            h("th", { scope: "col", class: "num" }, "Batches"),
            h("th", { scope: "col", class: "num" }, "This or more"),
          ]),
        ),
        rows,
      ),
    ),
  );

  function draw() {
    const cut = hundredths(slider.value);
    const said = `would keep ${count(kept(counts, cut))} of ${count(total)}`;
    left.setAttribute("d", bars(counts, 0, cut));
    stays.setAttribute("d", bars(counts, cut, counts.length));
    fill(cutoff, decimal(cut));
    fill(answer, said);
    slider.setAttribute("aria-valuetext", `${decimal(cut)}, ${said}`);
    button.disabled = !cut || !total;
  }

  function show(found, minimum) {
    ({ counts, total } = found);
    if (minimum) slider.value = minimum;
    const middle = median(counts);
    const missing = found.missing ? `, ${count(found.missing)} without one` : "";
    fill(figures, middle === null ? `none yet${missing}` : `median ${decimal(middle)}${missing}`);
    picture.setAttribute(
      "aria-label",
      middle === null
        ? `${title}: no batch has one`
        : `${title} of ${count(total)} batches: median ${decimal(middle)}, ` +
            `${count(kept(counts, 50))} at 0.5 or more. All figures are in the table.`,
    );
    fill(
      rows,
      Array.from({ length: 10 }, (_, tenth) => {
        const more = kept(counts, 10 * tenth);
        return h(
          "tr",
          {},
          h("th", { scope: "row" }, `${decimal(10 * tenth)} to ${decimal(10 * tenth + 10)}`),
          h("td", { class: "num" }, count(more - kept(counts, 10 * tenth + 10))),
          h("td", { class: "num" }, count(more)),
        );
      }),
    );
    draw();
  }

  function fail(error) {
    counts = [];
    total = 0;
    fill(rows);
    draw();
    fill(figures, h("span", { class: "bad" }, error.message));
  }

  draw();
  return { element, show, fail };
}
