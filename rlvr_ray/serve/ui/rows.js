// A table of any length: only the rows in sight are elements, all of one height (--row-height).
//
// To assistive technology it is a grid with one tab stop; aria-rowcount and aria-rowindex say where
// a row is among all. Arrows, Page Up and Down, Home and End move; Enter or Space opens.

import { fill, h } from "./dom.js";

const SPARE = 10; // rows kept ready above and below those in sight

// `columns`: [name, title] of each; `cells(index)`: a row's cells, null while it is being fetched;
// `open(index, byKey)`: a row was chosen; `need(index)`: rows up to this one will be seen.
export class Rows {
  #cells;
  #open;
  #need;
  #head;
  #body;
  #shown = new Map(); // the elements, by index
  #total = 0;
  #at = 0; // the tab stop
  #marked = -1;
  #height = 0;
  #frame = 0;
  #resized = new ResizeObserver(() => this.#measure());

  constructor({ label, columns, cells, open, need }) {
    this.#cells = cells;
    this.#open = open;
    this.#need = need;
    this.#head = h(
      "div",
      { role: "row", class: "rows-head", "aria-rowindex": 1 },
      columns.map(([name, title]) =>
        h("div", { role: "columnheader", class: `col-${name}` }, title),
      ),
    );
    this.#body = h("div", {
      role: "rowgroup",
      class: "rows-body",
      onclick: (event) => this.#click(event),
      onfocusin: (event) => this.#stop(this.#index(event.target)),
    });
    this.element = h(
      "div",
      {
        role: "grid",
        class: "rows",
        "aria-label": label,
        "aria-rowcount": 1,
        "data-testid": "dataset-table",
        onkeydown: (event) => this.#key(event),
      },
      h("div", { role: "rowgroup", class: "rows-top" }, this.#head),
      this.#body,
    );
    this.element.addEventListener("scroll", () => this.#later(), { passive: true });
    this.#resized.observe(this.element);
  }

  // Other rows, from the top.
  reset(total) {
    for (const row of this.#shown.values()) row.remove();
    this.#shown.clear();
    this.#at = 0;
    this.#marked = -1;
    this.element.scrollTop = 0;
    this.resize(total);
  }

  // There are so many.
  resize(total) {
    this.#total = total;
    this.#at = Math.max(0, Math.min(this.#at, total - 1));
    this.element.setAttribute("aria-rowcount", total + 1);
    this.#height = 0;
    this.#measure();
  }

  // What there is to say of the rows from this one on has come or changed.
  refresh(first) {
    for (const [index, row] of this.#shown) if (index >= first) this.#write(row, index);
  }

  // Which row is open; -1: none.
  mark(index) {
    this.#marked = index;
    for (const [each, row] of this.#shown) row.setAttribute("aria-selected", each === index);
  }

  // Bring a row into sight and the focus to it; by default the one that last had it.
  focus(index = this.#at) {
    if (!this.#total) return;
    this.#stop(Math.max(0, Math.min(index, this.#total - 1)));
    const top = this.#at * this.#height;
    const room = this.element.clientHeight - this.#head.offsetHeight;
    const { scrollTop } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    else if (top + this.#height > scrollTop + room) {
      this.element.scrollTop = top + this.#height - room;
    }
    this.#draw();
    this.#shown.get(this.#at).focus({ preventScroll: true });
  }

  close() {
    cancelAnimationFrame(this.#frame);
    this.#resized.disconnect();
  }

  // The height of a row follows from the width. What was in sight stays there: the row of the tab
  // stop or, where that was out of sight, the first one.
  #measure() {
    const { scrollTop, clientHeight } = this.element;
    if (!clientHeight) return; // it is hidden
    const height = parseFloat(getComputedStyle(this.element).getPropertyValue("--row-height"));
    const before = this.#height;
    this.#height = height;
    this.#body.style.setProperty("height", `${this.#total * height}px`);
    if (before && before !== height) {
      const room = clientHeight - this.#head.offsetHeight;
      const place = this.#at * before - scrollTop;
      const seen = place >= 0 && place < room;
      const kept = seen ? this.#at : Math.floor(scrollTop / before);
      this.element.scrollTop = kept * height - (seen ? Math.min(place, room - height) : 0);
      for (const [index, row] of this.#shown) this.#place(row, index);
    }
    this.#later();
  }

  #later() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  // How many rows fit.
  get #sight() {
    const room = this.element.clientHeight - this.#head.offsetHeight;
    return Math.max(1, Math.floor(room / this.#height));
  }

  #draw() {
    if (!this.#height) return;
    const top = Math.floor(this.element.scrollTop / this.#height);
    const first = Math.max(0, top - SPARE);
    const last = Math.min(this.#total, top + this.#sight + 2 + SPARE);
    for (const [index, row] of this.#shown) {
      // The row with the focus stays, wherever it is: the focus would be lost with it.
      if ((index >= first && index < last) || row.contains(document.activeElement)) continue;
      row.remove();
      this.#shown.delete(index);
    }
    for (let index = first; index < last; index += 1) {
      if (!this.#shown.has(index)) this.#add(index);
    }
    this.#stop(this.#at);
    if (last) this.#need(last - 1);
  }

  #add(index) {
    const row = h("div", {
      role: "row",
      class: "rows-row",
      tabindex: -1,
      "aria-rowindex": index + 2,
      "aria-selected": String(index === this.#marked),
      "data-index": index,
      "data-testid": "dataset-row",
    });
    this.#write(row, index);
    this.#place(row, index);
    this.#shown.set(index, row);
    // In their order: it is that in which they are read out.
    const next = [...this.#body.children].find((other) => Number(other.dataset.index) > index);
    this.#body.insertBefore(row, next ?? null);
  }

  #write(row, index) {
    const cells = this.#cells(index);
    row.classList.toggle("rows-waiting", cells === null);
    fill(row, cells ?? h("div", { role: "gridcell" }, "…"));
  }

  #place(row, index) {
    row.style.setProperty("transform", `translateY(${index * this.#height}px)`);
  }

  // The tab stop is a row that is there: where its own is out of sight, the nearest one.
  #stop(index) {
    this.#at = index;
    let nearest = null;
    for (const [each, row] of this.#shown) {
      row.tabIndex = -1;
      if (nearest === null || Math.abs(each - index) < Math.abs(nearest - index)) nearest = each;
    }
    if (nearest !== null) this.#shown.get(nearest).tabIndex = 0;
  }

  #index(target) {
    return Number(target.closest("[data-index]").dataset.index);
  }

  #click(event) {
    // Who marks text wants to copy it.
    if (!event.target.closest("[data-index]") || !getSelection().isCollapsed) return;
    this.#choose(this.#index(event.target), false);
  }

  #choose(index, byKey) {
    this.#stop(index);
    if (this.#cells(index) !== null) this.#open(index, byKey);
  }

  #key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.shiftKey) return;
    const moves = {
      ArrowDown: this.#at + 1,
      ArrowUp: this.#at - 1,
      PageDown: this.#at + this.#sight,
      PageUp: this.#at - this.#sight,
      Home: 0,
      End: this.#total - 1,
    };
    if (Object.hasOwn(moves, event.key)) this.focus(moves[event.key]);
    else if (event.key === "Enter" || event.key === " ") this.#choose(this.#at, true);
    else return;
    event.preventDefault();
  }
}
