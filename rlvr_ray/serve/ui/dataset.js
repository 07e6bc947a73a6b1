// The view of all batches: filters, histograms, a table, one batch's details, downloads.
//
// The address says what is shown: "#/dataset?outcome=pair&min_margin=0.2&open=BATCH_ID".

import { details } from "./details.js";
import { fill, h, heading, reveal } from "./dom.js";
import { asked, described, filterForm, filtersOf, reviewed, without } from "./filters.js";
import { count, many, outcome, score, time } from "./format.js";
import { histogram } from "./histogram.js";
import { get, url } from "./http.js";
import { Rows } from "./rows.js";
import { empty, failure, loading, through } from "./states.js";

const FIRST = 100; // lines of the first page, which shall be there soon
const MORE = 500; // and of each after it

const COLUMNS = [
  ["time", "Decided"],
  ["question", "Question"],
  ["outcome", "Outcome"],
  ["margin", "Margin"],
  ["score", "Best"],
  ["model", "Model"],
  ["review", "Review"],
];

const HISTOGRAMS = [
  { of: "score_diff", name: "margin", title: "Margin" },
  { of: "chosen_score", name: "score", title: "Best score" },
];

// Of a line, what the table needs: there may be very many.
const SHOWN = [
  "batch_id", "question", "created_at", "decided_at", "outcome", "detail", "chosen_score",
  "score_diff", "models", "review",
];

export async function show(root) {
  const address = asked();
  const view = new Dataset(filtersOf(address), address.get("open"));
  fill(root, view.elements());
  view.start();
  return () => view.close();
}

class Dataset {
  #filters;
  #opened;
  #byKey = false;
  #lines = [];
  #next = null;
  #wanted = 0;
  #fetching = false;
  #stopped = new AbortController();

  constructor(filters, opened) {
    this.#filters = filters;
    this.#opened = opened;
    this.form = filterForm(filters, (now) => this.#filter(now));
    this.histograms = HISTOGRAMS.map((one) => ({
      ...one,
      ...histogram({ ...one, use: (value) => this.form.set(`min_${one.name}`, value) }),
    }));
    this.rows = new Rows({
      label: "Batches, latest first",
      columns: COLUMNS,
      cells: (index) => this.#cells(index),
      open: (index, byKey) => this.#open(index, byKey),
      need: (index) => this.#need(index),
    });
  }

  elements() {
    const wide = matchMedia("(min-width: 60rem)").matches;
    this.filterWords = h("span", { class: "meta" });
    this.total = h("strong", { "data-testid": "dataset-total", role: "status" });
    this.human = h("input", {
      type: "checkbox",
      id: "human",
      "data-testid": "human",
      onchange: () => this.#link(),
    });
    this.downloads = h("div", { class: "downloads" });
    this.reviewLink = h("a", {}, "Review these");
    this.older = h("p", { class: "meta", hidden: true });
    this.trouble = h("div");
    this.rows.element.hidden = true;
    this.list = h("div", { class: "dataset-list" }, this.rows.element, this.trouble);
    this.sheet = h("div", { class: "sheet" });
    this.panel = h("section", {
      class: "dataset-details",
      "data-testid": "row-details",
      "aria-label": "Details",
      hidden: true,
      onkeydown: (event) => event.key === "Escape" && this.#shut(),
    });
    this.panes = h("div", { class: "dataset-panes" }, this.list, this.panel);
    return [
      heading("Dataset"),
      h(
        "details",
        { class: "fold", open: wide || String(this.#filters) !== "" },
        h("summary", {}, "Filters", this.filterWords),
        this.form.element,
      ),
      h(
        "details",
        { class: "fold", open: wide },
        h("summary", {}, "Margins and scores"),
        h("div", { class: "histograms" }, this.histograms.map((one) => one.element)),
      ),
      h(
        "div",
        { class: "dataset-bar" },
        this.total,
        h("button", { type: "button", class: "quiet", onclick: () => this.start() }, "Refresh"),
        this.reviewLink,
        this.downloads,
        h(
          "div",
          { class: "check" },
          this.human,
          h("label", { for: "human" }, "with reviews applied"),
        ),
      ),
      this.older,
      this.panes,
    ];
  }

  start() {
    this.#choices();
    this.#load();
    if (this.#opened) this.#show();
  }

  close() {
    this.#stopped.abort();
    this.form.close();
    this.rows.close();
  }

  // What there is to choose from; the filters work without it.
  async #choices() {
    const some = (path) => get(path).catch(() => null);
    const [stats, models] = await Promise.all([some("/stats"), some("/models")]);
    if (stats) this.form.counts(stats.batches);
    if (models) this.form.models(models.models);
  }

  #filter(now) {
    this.#filters = now;
    this.#shut(false);
    this.#load();
  }

  // The address tells what is shown, without an entry in the history for each letter.
  #tell() {
    const search = new URLSearchParams(this.#filters);
    if (this.#opened) search.set("open", this.#opened);
    const text = String(search);
    history.replaceState(history.state, "", `#/dataset${text && `?${text}`}`);
  }

  #query(more, filters = this.#filters) {
    const search = new URLSearchParams(filters);
    for (const [name, value] of Object.entries(more)) search.append(name, value);
    return String(search);
  }

  // The first lines and the histograms, all of the filters in force.
  async #load() {
    this.#stopped.abort();
    this.#stopped = new AbortController();
    const { signal } = this.#stopped;
    this.#fetching = true; // what is shown waits: it goes with the filters before
    this.#tell();
    this.#link();
    this.list.setAttribute("aria-busy", "true");
    if (this.rows.element.hidden) fill(this.trouble, loading());
    this.histograms.forEach((one) => this.#count(one, signal));
    try {
      const page = await get(`/batches?${this.#query({ limit: FIRST })}`, { signal });
      this.#fetching = false;
      this.#lines = [];
      this.#wanted = 0;
      this.#take(page);
      fill(this.total, many(page.total, "batch", "batches"));
      this.older.hidden = !page.past_retention;
      const older = many(page.past_retention ?? 0, "older batch", "older batches");
      fill(this.older, `${older} past retention: in the files, no longer here.`);
      fill(this.trouble, page.total === 0 && this.#nothing());
      this.rows.element.hidden = page.total === 0;
      this.rows.reset(page.total);
      this.#mark();
    } catch (error) {
      if (error.name === "AbortError") return; // others are being fetched
      this.#fetching = false;
      this.rows.element.hidden = true;
      fill(this.total, "–");
      fill(this.trouble, failure(error, () => this.#load()));
    }
    this.list.removeAttribute("aria-busy");
  }

  #nothing() {
    if (String(this.#filters)) {
      return empty(
        "No batch fits these filters.",
        h("button", { type: "button", onclick: () => this.form.clear() }, "Clear filters"),
      );
    }
    const ask = h("a", { href: "#/ask" }, "Ask a question");
    return empty("There is no batch yet.", ask, " to make the first one.");
  }

  // A histogram shows all values, with the threshold that filters them: its own filter is left out.
  async #count(one, signal) {
    const [low, high] = [`min_${one.name}`, `max_${one.name}`];
    const query = this.#query({ of: one.of }, without(this.#filters, low, high));
    try {
      one.show(await get(`/batches/histogram?${query}`, { signal }), this.#filters.get(low) ?? "");
    } catch (error) {
      if (error.name !== "AbortError") one.fail(error);
    }
  }

  #take(page) {
    for (const line of page.batches) {
      this.#lines.push(Object.fromEntries(SHOWN.map((name) => [name, line[name]])));
    }
    this.#next = page.next;
  }

  // Pages come one after another, since each says where the next one begins, until what is in sight
  // is there.
  async #need(index) {
    this.#wanted = index;
    if (this.#fetching) return;
    const { signal } = this.#stopped;
    this.#fetching = true;
    try {
      while (this.#next !== null && this.#lines.length <= this.#wanted) {
        const first = this.#lines.length;
        const query = this.#query({ limit: MORE, after: this.#next });
        const page = await get(`/batches?${query}`, { signal });
        this.#take(page);
        this.rows.refresh(first);
        if (this.#next === null) this.rows.resize(this.#lines.length);
      }
      fill(this.trouble);
    } catch (error) {
      if (error.name === "AbortError") return;
      fill(this.trouble, failure(error, () => this.#need(this.#wanted)));
    }
    this.#fetching = false;
  }

  #cells(index) {
    const line = this.#lines[index];
    if (!line) return null;
    const cell = (name, attributes, ...children) =>
      h("div", { role: "gridcell", class: `col-${name}`, ...attributes }, ...children);
    // Where there is no room for a head.
    const label = (name) => h("span", { class: "cell-label" }, `${name} `);
    const kind = { pair: "good", open: "accent" }[line.outcome] ?? "";
    const tag = h("span", { class: `tag ${kind}` }, outcome(line.outcome));
    const models = line.models.join(", ");
    return [
      cell("time", {}, time(line.decided_at ?? line.created_at).slice(0, 16)),
      cell("question", { dir: "auto", title: line.question }, line.question),
      cell("outcome", { title: line.detail }, tag),
      cell("margin", {}, label("margin"), score(line.score_diff)),
      cell("score", {}, label("best"), score(line.chosen_score)),
      cell("model", { title: models }, models),
      cell("review", {}, line.review ? reviewed(line.review) : ""),
    ];
  }

  // Downloads and the way to the review, of what is filtered.
  #link() {
    const links = (route, title, more) => [
      h("span", {}, title),
      ["jsonl", "parquet"].map((format) =>
        h(
          "a",
          {
            href: url(`/${route}?${this.#query({ format, ...more })}`),
            download: true,
            "aria-label": `Download ${title.toLowerCase()} as ${format}`,
            "data-testid": route === "pairs" ? `download-${format}` : `download-${route}-${format}`,
          },
          { jsonl: "JSONL", parquet: "Parquet" }[format],
        ),
      ),
    ];
    fill(
      this.downloads,
      links("pairs", "Pairs", this.human.checked ? { human: "true" } : {}),
      links("answers", "Answers", {}),
    );
    const text = String(without(this.#filters, "review", "outcome"));
    this.reviewLink.setAttribute("href", `#/review${text && `?${text}`}`);
    fill(this.filterWords, described(this.#filters));
  }

  #open(index, byKey) {
    this.#opened = this.#lines[index].batch_id;
    this.#byKey = byKey;
    this.rows.mark(index);
    this.#tell();
    this.#show();
  }

  #mark() {
    this.rows.mark(this.#lines.findIndex((line) => line.batch_id === this.#opened));
  }

  #show() {
    const id = this.#opened;
    const body = h("div", { class: "details-body" });
    const title = h("h2", { tabindex: -1, class: "text", dir: "auto" });
    const shut = h(
      "button",
      { type: "button", "data-testid": "row-close", onclick: () => this.#shut() },
      "Close",
    );
    fill(this.panel, h("div", { class: "details-head" }, title, shut), body);
    this.panel.hidden = false;
    this.panes.classList.add("has-details");
    this.panel.scrollTop = 0;
    const draw = ([batch, found]) => {
      if (id !== this.#opened) return [];
      fill(title, batch.question);
      return details(batch, found.reviews);
    };
    const path = encodeURIComponent(id);
    through(
      body,
      () => Promise.all([get(`/batches/${path}`), get(`/reviews?batch_id=${path}`)]),
      draw,
    );
    // Where there is no room for both, they are there instead of the table.
    const instead = this.list.offsetParent === null;
    reveal(this.panel, instead ? "start" : "nearest");
    // By key, the focus goes along; by pointer the next row is likelier than a way back.
    if (this.#byKey || instead) title.focus({ preventScroll: true });
  }

  #shut(refocus = true) {
    if (this.panel.hidden) return;
    this.#opened = null;
    this.panel.hidden = true;
    fill(this.panel);
    this.panes.classList.remove("has-details");
    this.rows.mark(-1);
    this.#tell();
    if (refocus) this.rows.focus();
  }
}
