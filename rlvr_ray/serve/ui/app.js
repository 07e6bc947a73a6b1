// The frame: which view the address names, and showing it.
//
// A view is a module in this folder with
//
//     export async function show(root, params)
//
// `root` is an empty element inside <main>; `params` are decoded: "#/ask/1f0e" gives ["1f0e"]. It
// puts a heading (dom.js) into root before it awaits anything: the focus goes there. It may return a
// function that ends what it started (timers, streams).

import { announce, fill, h } from "./dom.js";
import { keyFrom } from "./http.js";
import { failure } from "./states.js";

// Adding a view: its module, and its entry here; the navigation is made from them.
const VIEWS = {
  ask: ["Ask", () => import("./ask.js")],
  dataset: ["Dataset", () => import("./dataset.js")],
  review: ["Review", () => import("./review.js")],
  documents: ["Documents", () => import("./documents.js")],
  system: ["System", () => import("./system.js")],
};

const main = document.getElementById("main");
let turn = 0;
let end = null;

function address() {
  const [path] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...params] = path.split("/").map(decoded);
  return { name: name || "ask", params: params.filter((part) => part !== "") };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

async function route(first) {
  const { name, params } = address();
  const mine = ++turn;
  end?.();
  end = null;
  const known = Object.hasOwn(VIEWS, name);
  const [title, load] = known ? VIEWS[name] : ["No such page"];
  document.title = `${title} · rlvr_ray`;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#/${name}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const root = h("div", { class: `view view-${known ? name : "none"}` });
  fill(main, main.querySelector(".key"), root);
  scrollTo(0, 0);
  let shown;
  if (known) {
    shown = draw(root, load, params, mine);
  } else {
    fill(root, h("h1", { tabindex: "-1" }, "There is no such page"), h("a", { href: "#/ask" }, "Ask"));
  }
  await Promise.race([shown, heading(root)]);
  if (mine !== turn || first) return;
  const focused = main.querySelector("#key") ?? root.querySelector("h1") ?? main;
  focused.focus({ preventScroll: true });
}

async function draw(root, load, params, mine) {
  try {
    const ended = await (await load()).show(root, params);
    if (mine === turn) end = ended ?? null;
    else ended?.();
  } catch (error) {
    console.error(error);
    if (mine === turn) fill(root, failure(error, () => route(false)));
  }
}

// Holds once the view's heading is there.
function heading(root) {
  return new Promise((resolve) => {
    if (root.querySelector("h1")) resolve();
    const watching = new MutationObserver(() => {
      if (!root.querySelector("h1")) return;
      watching.disconnect();
      resolve();
    });
    watching.observe(root, { childList: true, subtree: true });
  });
}

// The form for the key. It stands before the view until the key is right.
function keyForm(tried) {
  return new Promise((resolve) => {
    const message = h("p", { class: "wrong", id: "key-said", role: "alert" });
    const input = h("input", {
      id: "key",
      name: "key",
      type: "password",
      autocomplete: "current-password",
      required: true,
      "aria-describedby": "key-said",
      "data-testid": "key",
    });
    const button = h("button", { class: "primary", "data-testid": "key-send" }, "Continue");
    const form = h(
      "form",
      { class: "key", "aria-labelledby": "key-title", "data-testid": "key-form" },
      h("h1", { id: "key-title" }, "This server asks for its API key"),
      h("p", { class: "hint" }, "The key stays on the server; this browser gets a cookie for the session."),
      h("div", { class: "field" }, h("label", { for: "key" }, "API key"), input),
      message,
      button,
    );
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      button.disabled = true;
      try {
        if (await tried(input.value)) {
          form.remove();
          announce("The key is right.");
          (main.querySelector("h1") ?? main).focus({ preventScroll: true });
          resolve();
          return;
        }
        message.textContent = "This is not the key.";
      } catch (error) {
        message.textContent = error.message;
      }
      button.disabled = false;
      input.select();
    });
    main.prepend(form); // the view waits, hidden
    input.focus();
  });
}

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address after # is a view's
  main.focus();
});
fill(
  document.querySelector("nav ul"),
  Object.entries(VIEWS).map(([name, [title]]) =>
    h("li", {}, h("a", { href: `#/${name}`, "data-testid": `nav-${name}` }, title)),
  ),
);
keyFrom(keyForm);
addEventListener("hashchange", () => route(false));
route(true);
