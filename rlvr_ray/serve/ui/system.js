// Whether all parts work, how much there is to do, what went wrong. Asked again every two seconds
// while the page is seen; what a server does not tell is left out.

import { fill, h, heading } from "./dom.js";
import { bytes, count, cut, outcome, span, time } from "./format.js";
import { back, get, Offline, url } from "./http.js";
import { failure, loading } from "./states.js";

const EVERY_MS = 2000;
const SHORT = 200; // characters of a question or a detail
const WINDOWS = { "1m": "minute", "1h": "hour", "24h": "24 hours" };

export async function show(root) {
  const stopping = new AbortController();
  const { signal } = stopping;
  const fresh = h("span", { class: "meta" });
  const trouble = h("div");
  const blocks = [parts, work, rates, setAside, errors, files, latest, links].map(block);
  const [health, load, ...more] = blocks.map((one) => one.element);
  const elsewhere = more.pop();
  const waiting = loading();
  fill(
    root,
    h("div", { class: "split" }, heading("System"), fresh),
    trouble,
    waiting,
    health,
    load,
    h("div", { class: "columns" }, h("div", { class: "view" }, more.slice(0, 2)), more.slice(2)),
    elsewhere,
  );

  async function ask() {
    try {
      const [stats, ready] = await Promise.all([
        get("/stats", { signal }),
        get("/readyz", { signal, accept: [503] }),
      ]);
      waiting.remove();
      fill(trouble);
      for (const one of blocks) one.update({ stats, ready });
      fresh.textContent = `as of ${time(new Date().toISOString()).slice(11)}`;
    } catch (error) {
      if (error.name === "AbortError") return;
      waiting.remove();
      // The figures of before stay, with their time.
      if (error instanceof Offline) await back();
      else if (trouble.textContent !== error.message) fill(trouble, failure(error));
    }
  }

  async function keepAsking() {
    while (!signal.aborted) {
      await seen(signal);
      if (signal.aborted) return;
      await ask();
      await pause(EVERY_MS, signal);
    }
  }

  keepAsking();
  return () => stopping.abort();
}

// Holds while the page is seen.
function seen(signal) {
  if (document.visibilityState === "visible") return Promise.resolve();
  return new Promise((resolve) => {
    document.addEventListener("visibilitychange", resolve, { once: true, signal });
    signal.addEventListener("abort", resolve, { once: true });
  });
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    }, { once: true });
  });
}

// A part of the view that is drawn again only where it would differ, so that what somebody reads or
// has focused stays.
function block(draw) {
  const element = h("div", { class: "block", hidden: true });
  let before = "";
  return {
    element,
    update(told) {
      const node = draw(told);
      const now = node?.outerHTML ?? "";
      if (now === before) return;
      before = now;
      element.hidden = !node;
      fill(element, node);
    },
  };
}

function titled(title, ...content) {
  const id = `system-${title.toLowerCase().replace(/\W+/g, "-")}`;
  return h("section", { class: "section", "aria-labelledby": id }, h("h2", { id }, title), content);
}

function parts({ stats, ready }) {
  const known = { ...ready.parts };
  if (stats.mirror) {
    known.mirror = { ok: true, detail: stats.mirror.pending === 0 ? "all events are sent" : `${count(stats.mirror.pending)} events wait` };
  }
  return titled(
    ready.status === "ready" ? "All parts answer" : "Not every part answers",
    h(
      "div",
      { class: "parts" },
      Object.entries(known).map(([name, part]) =>
        h(
          "div",
          { class: "part", "data-testid": `part-${name}` },
          h(
            "div",
            { class: "split" },
            h("h3", {}, name[0].toUpperCase() + name.slice(1)),
            part.ok
              ? h("span", { class: "tag good" }, "✓ ok")
              : h("span", { class: "tag bad" }, "✗ no answer"),
          ),
          h("p", { class: "detail" }, partDetail(name, part)),
          part.engine && h("p", { class: "meta detail" }, part.engine),
        ),
      ),
    ),
    ready.verifiers && h("p", { class: "meta", "data-testid": "verifiers" }, `Answers are verified by ${ready.verifiers}.`),
  );
}

function partDetail(name, { ok, detail }) {
  if (!ok || typeof detail !== "object") {
    return ok && name === "retriever" && typeof detail === "number"
      ? `${count(detail)} passages`
      : String(detail);
  }
  return detail === null ? "The ledger answers." : JSON.stringify(detail);
}

function figure(name, value, more) {
  if (value === null || value === undefined) return null;
  return h("div", { class: "figure" }, h("dt", {}, name), h("dd", {}, value), more && h("dd", {}, more));
}

function work({ stats }) {
  const { queue, mirror, disk } = stats;
  return titled(
    "Work",
    h(
      "dl",
      { class: "figures" },
      queue && figure("Questions open", count(queue.open), queue.oldest && `the oldest for ${since(queue.oldest)}`),
      mirror && figure("Events to send", count(mirror.pending), mirror.oldest && `the oldest for ${since(mirror.oldest)}`),
      figure("Passages", stats.passages !== undefined && count(stats.passages)),
      disk?.free_bytes !== undefined &&
        figure(
          "Disk free",
          bytes(disk.free_bytes),
          disk.min_free_bytes !== undefined &&
            (disk.free_bytes < disk.min_free_bytes
              ? h("span", { class: "bad" }, `below ${bytes(disk.min_free_bytes)}: no question is taken`)
              : `questions stop below ${bytes(disk.min_free_bytes)}`),
        ),
    ),
  );
}

function since(iso) {
  return span((Date.now() - Date.parse(iso)) / 1000);
}

function rates({ stats }) {
  const windows = Object.entries(stats.rates ?? {});
  const states = Object.entries(stats.batches ?? {});
  const total = states.reduce((sum, [, one]) => sum + one, 0);
  return titled(
    "Batches",
    states.length === 0 && h("p", { class: "hint" }, "None yet."),
    states.length > 0 &&
      table(
        "Batches by state",
        ["State", "Batches", "Share"],
        states.map(([state, one]) => [
          h("a", { href: `#/dataset?outcome=${encodeURIComponent(state)}` }, outcome(state)),
          count(one),
          total > 0 ? `${((100 * one) / total).toFixed(1)} %` : "–",
        ]),
      ),
    windows.length > 0 &&
      table(
        "Rates",
        ["In the last", "Decided", "Pairs"],
        windows.map(([name, one]) => [WINDOWS[name] ?? name, count(one.decided ?? 0), count(one.pairs ?? 0)]),
      ),
  );
}

function setAside({ stats }) {
  const known = stats.set_aside;
  if (!known?.count) return null;
  return titled(
    "Set aside",
    h("p", { class: "hint" }, `Records of the ledger that cannot be read: ${count(known.count)}. Everything else goes on; rlvr verify-store names them all.`),
    h(
      "ul",
      { class: "lines" },
      (known.records ?? []).map((one) => h("li", {}, h("span", { class: "meta" }, one.record), h("p", { class: "text" }, one.reason))),
    ),
  );
}

function errors({ stats }) {
  const known = stats.errors ?? [];
  if (known.length === 0) {
    return titled(
      "Last errors",
      stats.last_error ? h("p", { class: "wrong text" }, stats.last_error) : h("p", { class: "hint" }, "None."),
    );
  }
  return titled(
    "Last errors",
    h(
      "ul",
      { class: "lines" },
      known.map((one) =>
        h(
          "li",
          {},
          h("span", { class: "meta" }, [one.at && time(one.at), one.part].filter(Boolean).join(" · ")),
          h("p", { class: "text" }, one.detail),
        ),
      ),
    ),
  );
}

function latest({ stats }) {
  const recent = stats.recent ?? [];
  if (recent.length === 0) return null;
  return titled(
    "Latest outcomes",
    h(
      "ul",
      { class: "lines" },
      recent.map((one) =>
        h(
          "li",
          {},
          h("a", { href: `#/ask/${one.batch_id}` }, short(one.question)),
          h(
            "p",
            { class: "meta" },
            h("span", { class: `tag ${one.outcome === "pair" ? "good" : "warn"}` }, outcome(one.outcome)),
            ` ${short(one.detail)} · ${time(one.decided_at)}`,
          ),
        ),
      ),
    ),
  );
}

function short(text) {
  const [start, , rest] = cut(text, SHORT, SHORT);
  return rest ? `${start}…` : start;
}

function files({ stats }) {
  const known = Object.entries(stats.files ?? {});
  const sealed = stats.parts ?? [];
  return titled(
    "Files",
    stats.data_dir && h("p", { class: "meta" }, "in ", h("code", {}, stats.data_dir)),
    known.length === 0 && h("p", { class: "hint" }, "None yet: they come with the first decided batch."),
    known.length > 0 &&
      table("Files and sizes", ["File", "Size"], known.map(([path, size]) => [h("code", {}, path), bytes(size)])),
    sealed.length > 0 &&
      h(
        "details",
        {},
        h("summary", {}, `${count(stats.num_parts ?? sealed.length)} Parquet parts`),
        h("ul", {}, sealed.map((path) => h("li", {}, h("code", {}, path)))),
      ),
  );
}

function table(caption, head, rows) {
  const cell = (value, index) =>
    index === 0 ? h("th", { scope: "row" }, value) : h("td", { class: "num" }, value);
  return h(
    "table",
    {},
    h("caption", { class: "unseen" }, caption),
    h("thead", {}, h("tr", {}, head.map((text, index) => h("th", { scope: "col", class: index > 0 && "num" }, text)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map(cell)))),
  );
}

function links({ stats }) {
  return titled(
    "Elsewhere",
    h(
      "p",
      { class: "links" },
      stats.dashboard && h("a", { href: stats.dashboard, rel: "noreferrer" }, "Ray dashboard"),
      h("a", { href: url("/docs") }, "API docs"),
      h("a", { href: url("/stats") }, "These figures as JSON"),
      h("a", { href: url("/readyz") }, "Readiness as JSON"),
    ),
    h(
      "p",
      { class: "meta" },
      stats.version && `rlvr_ray ${stats.version}. `,
      "Metrics for Prometheus and a Grafana dashboard: docs/monitoring.md.",
    ),
  );
}
