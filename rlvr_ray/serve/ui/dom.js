// Elements, built so that text stays text.
//
// Nothing on this page parses HTML: what comes from models, documents and people becomes text
// nodes and attribute values only.

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "open", "selected"]);
const SCHEME = /^[\s\0]*[a-z][a-z0-9+.-]*:/i;
const SAFE = /^(https?|blob):/i;

// An element with attributes and children.
//
// Attributes: `onclick` and the like take a function; `vars` an object of CSS custom properties;
// true writes the bare attribute; false, null and undefined leave it out. Children: nodes, texts,
// numbers, arrays of them; null, undefined and false are left out.
export function h(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

// The same for SVG.
export function svg(tag, attributes, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) set(element, name, value);
  add(element, children);
  return element;
}

function set(element, name, value) {
  if (name.startsWith("on")) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
  } else if (name === "vars") {
    for (const [key, one] of Object.entries(value)) element.style.setProperty(key, String(one));
  } else if (PROPERTIES.has(name)) {
    element[name] = value ?? "";
  } else if (value === true) {
    element.setAttribute(name, "");
  } else if (value !== false && value !== null && value !== undefined) {
    const text = String(value);
    if ((name === "href" || name === "src") && SCHEME.test(text) && !SAFE.test(text)) return;
    element.setAttribute(name, text);
  }
}

function add(element, children) {
  for (const child of children) {
    if (Array.isArray(child)) add(element, child);
    else if (child instanceof Node) element.append(child);
    else if (child !== null && child !== undefined && child !== false) {
      element.append(document.createTextNode(String(child)));
    }
  }
}

// Replace what an element holds.
export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
  return element;
}

// A view's heading: it takes the focus when the view is shown.
export function heading(...children) {
  return h("h1", { tabindex: "-1" }, ...children);
}

// A label and its input, select or textarea, which must have an id; `hint` stands below.
export function field(label, input, hint) {
  const described = hint && `${input.id}-hint`;
  if (described) input.setAttribute("aria-describedby", described);
  return h(
    "div",
    { class: "field" },
    h("label", { for: input.id }, label),
    input,
    hint && h("p", { class: "hint", id: described }, hint),
  );
}

// A button that asks for a second press before it acts: no dialog. It forgets after five seconds
// or when it loses the focus. `about` names for screen readers what it acts on.
export function confirmed(label, question, act, about) {
  let timer = 0;
  const named = (text, end = "") => [text, h("span", { class: "unseen" }, ` ${about}`), end];
  const calm = () => {
    clearTimeout(timer);
    timer = 0;
    fill(button, named(label));
    button.classList.remove("danger");
  };
  const button = h("button", {
    type: "button",
    class: "quiet",
    onblur: () => timer && calm(),
    onclick: (event) => {
      if (event.detail > 1) return; // a double click is one press
      if (timer) {
        calm();
        act(button);
        return;
      }
      fill(button, named(question, "?"));
      button.classList.add("danger");
      announce(`${question} ${about}? Press again to confirm.`);
      timer = setTimeout(calm, 5000);
    },
  }, named(label));
  return button;
}

// Say something to screen readers. For what is worth an interruption only. Each text stands for a
// while, so that the next one does not cut it off.
export function announce(text) {
  const message = h("p", {}, text);
  document.getElementById("announcer")?.append(message);
  setTimeout(() => message.remove(), 10_000);
}

// Bring an element into view, without motion where none is wanted.
export function reveal(element, block = "nearest") {
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ block, behavior: still ? "auto" : "smooth" });
}
