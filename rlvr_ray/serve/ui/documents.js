// The documents that questions are answered from: add, list, remove, and what a question would find.

import { announce, confirmed, field, fill, h, heading } from "./dom.js";
import { MAX_QUESTION, MAX_TOP_K, MAX_UPLOAD, SUFFIXES } from "./enums.js";
import { bytes, count, many } from "./format.js";
import { get, Problem, query, send, upload } from "./http.js";
import { counted, passages } from "./passages.js";
import { empty, through } from "./states.js";

const SLICE = 200;
const UPLOADS_KEPT = 100;

// Uploads go on while another view is shown; so their list outlives this one.
const uploads = h("ul", { class: "uploads", "aria-label": "Uploads", "data-testid": "uploads" });
const queue = [];
let running = null;
let stored = () => {};

export async function show(root) {
  const list = documentList();
  stored = list.put;
  fill(
    root,
    heading("Documents"),
    h("section", { class: "section", "aria-label": "Add documents" }, dropZone(), uploads),
    h(
      "div",
      { class: "columns" },
      list.element,
      searchBox(),
    ),
  );
  await list.load();
  return () => {
    stored = () => {};
  };
}

// Adding.

function dropZone() {
  const input = h("input", {
    id: "upload",
    type: "file",
    multiple: true,
    accept: SUFFIXES.join(","),
    "data-testid": "upload",
    onchange: () => {
      add([...input.files].map((file) => ({ file, name: file.name })));
      input.value = "";
    },
  });
  const zone = h(
    "div",
    { class: "drop" },
    h("label", { for: "upload" }, "Add documents"),
    input,
    h(
      "p",
      { class: "hint" },
      `Or drop files and folders here. ${SUFFIXES.join(", ")}, up to ${bytes(MAX_UPLOAD)} each. A name that is there already is replaced.`,
    ),
  );
  const over = (yes) => (event) => {
    event.preventDefault();
    zone.classList.toggle("over", yes);
  };
  zone.addEventListener("dragover", over(true));
  zone.addEventListener("dragleave", over(false));
  zone.addEventListener("drop", async (event) => {
    over(false)(event);
    // Entries must be asked for before anything is awaited.
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    const found = [];
    for (const entry of entries) await collect(entry, found);
    add(found);
    if (entries.length > 0 && found.length === 0) announce("There is no document in it.");
  });
  return zone;
}

function isDocument(name) {
  return SUFFIXES.some((suffix) => name.toLowerCase().endsWith(suffix));
}

// Files of an entry; of a folder those that are documents, with its name before theirs.
async function collect(entry, found, path = "") {
  const name = path + entry.name;
  if (entry.isFile && path !== "" && !isDocument(name)) return;
  try {
    if (entry.isFile) {
      found.push({ file: await new Promise((good, bad) => entry.file(good, bad)), name });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const some = await new Promise((good, bad) => reader.readEntries(good, bad));
      if (some.length === 0) return;
      for (const one of some) await collect(one, found, `${name}/`);
    }
  } catch {
    found.push({ file: null, name });
  }
}

function add(files) {
  for (const { file, name } of files) {
    const state = h("span", { class: "meta" }, "waiting");
    const row = h("li", {}, h("span", { class: "file" }, name), state);
    uploads.prepend(row);
    queue.push({ file, name, row, state });
  }
  while (uploads.children.length > UPLOADS_KEPT + queue.length) uploads.lastChild.remove();
  if (files.length > 0) running ??= work().finally(() => (running = null));
}

async function work() {
  let good = 0;
  let bad = 0;
  while (queue.length > 0) {
    const one = queue.shift();
    try {
      await put(one);
      good += 1;
    } catch (error) {
      one.row.querySelector("progress")?.remove();
      fill(one.state, h("span", { class: "bad" }, "not stored"));
      const again = h("button", {
        type: "button",
        class: "quiet",
        onclick: () => {
          one.row.remove();
          add([one]);
        },
      }, "Try again");
      one.row.append(h("p", { class: "wrong", "data-testid": "error" }, error.message, " ", again));
      bad += 1;
    }
  }
  announce(`${many(good, "document")} stored${bad > 0 ? `, ${bad} not` : ""}.`);
}

async function put({ file, name, row, state }) {
  if (!isDocument(name)) throw new Error(`Only ${SUFFIXES.join(", ")} can be stored.`);
  const readable = await file?.slice(0, 1).arrayBuffer().catch(() => null);
  if (!readable) throw new Error("This browser cannot read it.");
  if (file.size > MAX_UPLOAD) {
    throw new Error(`It is larger than ${bytes(MAX_UPLOAD)}: split it.`);
  }
  const bar = h("progress", { max: 1, value: 0, "aria-label": `Upload of ${name}` });
  row.append(bar);
  state.textContent = `0 % of ${bytes(file.size)}`;
  const form = new FormData();
  form.append("files", file, name);
  const reply = await upload("/documents", form, (share) => {
    bar.value = share;
    if (share < 1) {
      state.textContent = `${Math.floor(100 * share)} % of ${bytes(file.size)}`;
    } else {
      bar.removeAttribute("value"); // it cannot tell how far it is from here on
      state.textContent = "embedding…";
    }
  });
  bar.remove();
  const [document] = reply.documents;
  fill(
    state,
    `${many(document.num_chunks, "passage")}, `,
    h("span", { class: "good" }, document.changed ? "stored" : "unchanged"),
  );
  stored(document);
}

// Listing and removing.

function documentList() {
  let all = [];
  let limit = SLICE;
  const filter = h("input", {
    id: "documents-filter",
    type: "search",
    autocomplete: "off",
    oninput: () => {
      limit = SLICE;
      draw();
    },
  });
  const body = h("tbody");
  const number = h("p", { class: "hint", role: "status" });
  const more = h("button", {
    type: "button",
    onclick: () => {
      limit += SLICE;
      draw();
    },
  }, "Show more");
  const table = h(
    "table",
    { class: "list", "data-testid": "documents-list" },
    h("caption", { class: "unseen" }, "Documents"),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { scope: "col" }, "Document"),
        h("th", { scope: "col", class: "num" }, "Passages"),
        h("th", { scope: "col", class: "num" }, h("span", { class: "unseen" }, "Delete")),
      ),
    ),
    body,
  );
  const place = h("div", { class: "section" });
  const element = h(
    "section",
    { class: "section", "aria-labelledby": "documents-title" },
    h("h2", { id: "documents-title" }, "What is stored"),
    place,
  );
  const rows = new Map(); // document_id → tr

  let puts = 0;

  function row(document) {
    if (!rows.has(document.document_id)) {
      rows.set(
        document.document_id,
        h(
          "tr",
          {},
          h("th", { scope: "row" }, document.source),
          h("td", { class: "num" }, count(document.num_chunks)),
          h(
            "td",
            { class: "num" },
            confirmed("Delete", "Really delete", (button) => remove(document, button), document.source),
          ),
        ),
      );
    }
    return rows.get(document.document_id);
  }

  function draw() {
    if (all.length === 0) {
      fill(place, empty("There are no documents yet.", "Add some above, or with: ", h("code", {}, "rlvr ingest PATH")));
      return;
    }
    const wanted = filter.value.trim().toLowerCase();
    const fit = wanted ? all.filter((one) => one.source.toLowerCase().includes(wanted)) : all;
    const total = fit.reduce((sum, one) => sum + one.num_chunks, 0);
    number.textContent = `${many(fit.length, "document")}${wanted ? ` of ${count(all.length)}` : ""}, ${many(total, "passage")}`;
    body.replaceChildren(...fit.slice(0, limit).map(row));
    more.hidden = fit.length <= limit;
    if (!table.isConnected) fill(place, field("Filter by name", filter), number, table, more);
  }

  async function remove(document, button) {
    button.disabled = true;
    try {
      await send("DELETE", `/documents/${document.document_id}`);
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 404) {
        button.disabled = false;
        button.after(h("span", { class: "wrong", role: "alert" }, ` ${error.message}`));
        return;
      }
    }
    const next = rows.get(document.document_id)?.nextElementSibling?.querySelector("button") ?? filter;
    all = all.filter((one) => one.document_id !== document.document_id);
    rows.delete(document.document_id);
    draw();
    if (next.isConnected) next.focus();
    announce(`${document.source} is deleted.`);
  }

  return {
    element,
    load: () =>
      through(place, async () => {
        let before, found;
        do { // a list from before an upload lacks it
          before = puts;
          found = await get("/documents");
        } while (before !== puts);
        return found;
      }, ({ documents }) => {
        all = documents;
        rows.clear();
        draw();
        return [...place.childNodes];
      }),
    put(document) {
      puts += 1;
      rows.delete(document.document_id);
      all = all.filter((one) => one.document_id !== document.document_id);
      all.push(document);
      all.sort((a, b) => (a.source < b.source ? -1 : a.source > b.source ? 1 : 0));
      draw();
    },
  };
}

// What a question would find.

function searchBox() {
  const question = h("input", { id: "search-question", type: "search", maxlength: MAX_QUESTION, "data-testid": "search" });
  const topK = h("input", { id: "search-top-k", type: "number", min: 1, max: MAX_TOP_K, placeholder: "default" });
  const found = h("div", { "data-testid": "search-results" });
  const form = h(
    "form",
    { class: "toolbar", role: "search", "aria-label": "Passages for a question" },
    h("div", { class: "wide" }, field("What would a question retrieve?", question)),
    h("div", { class: "short" }, field("Passages", topK)),
    h("button", {}, "Search"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = question.value.trim();
    if (text === "") {
      question.focus();
      return;
    }
    through(found, () => get(`/search${query({ question: text, top_k: topK.value })}`), ({ contexts }) => {
      announce(`${counted(contexts)} found.`);
      return contexts.length > 0 ? passages(contexts).element : empty("Nothing was found.");
    });
  });
  return h("section", { class: "section", "aria-label": "Search" }, form, found);
}
