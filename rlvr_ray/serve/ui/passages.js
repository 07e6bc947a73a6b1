// Passages that were found for a question, and marking what supports a statement.

import { announce, fill, h, reveal } from "./dom.js";
import { cut, many, score } from "./format.js";

// A list of passages. `marking` says that statements will point into them.
export function passages(contexts) {
  const items = contexts.map(item);
  let marked = null;

  function unmark() {
    if (!marked) return;
    const { one, from } = marked;
    from?.setAttribute("aria-pressed", "false");
    one.element.classList.remove("marked");
    one.back.hidden = true;
    fill(one.content, one.text);
    marked = null;
  }

  return {
    element: h("ol", { class: "passages", "data-testid": "passages" }, items.map((one) => one.element)),
    unmark,
    // Mark `passage` ({context, start, end}) for the button `from`; a second press takes it away.
    mark(passage, from) {
      const again = marked?.from === from;
      unmark();
      if (again) {
        announce("The mark is gone.");
        return;
      }
      from.setAttribute("aria-pressed", "true");
      const one = passage && items[passage.context];
      if (!one) {
        marked = { one: NOWHERE, from };
        announce("No passage supports this statement.");
        return;
      }
      const [before, within, after] = cut(one.text, passage.start, passage.end);
      const mark = h("mark", {}, within);
      fill(one.content, before, mark, after);
      one.element.classList.add("marked");
      one.back.hidden = false;
      one.back.onclick = () => {
        reveal(from, "center");
        from.focus({ preventScroll: true });
      };
      marked = { one, from };
      reveal(mark, "center");
      announce(`Marked in passage ${passage.context + 1}, ${one.source}: ${within}`);
    },
  };
}

const NOWHERE = { element: h("li"), back: h("button"), content: h("p"), text: "" };

function item(context, index) {
  const { source, chunk_index: chunk } = context.metadata ?? {};
  const content = h("p", { class: "text" }, context.content);
  const back = h("button", { type: "button", class: "quiet", hidden: true }, "Back to the statement");
  const place = chunk === undefined ? "" : `part ${chunk + 1}, `;
  const element = h(
    "li",
    { class: "passage", "data-testid": `context-${index}` },
    h(
      "div",
      { class: "passage-head" },
      h("span", { class: "meta" }, index + 1),
      h("strong", {}, source ?? "passage"),
      h("span", { class: "meta similarity" }, `${place}similarity ${score(context.score)}`),
    ),
    content,
    back,
  );
  return { element, content, back, text: context.content, source: source ?? "no name" };
}

// "5 passages", for a heading.
export function counted(contexts) {
  return many(contexts.length, "passage");
}
