// Elements of the page. Whatever comes from data enters as text, never as HTML.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** An element with attributes; `onclick` and its like are listeners, and null, undefined and false leave one out. */
export function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for elements of SVG. */
export function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Replace the children; the element that had the focus gets it back, known by its `data-key`. */
export function show(parent, ...children) {
  const focused = parent.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  parent.replaceChildren();
  fill(parent, {}, children);
  if (focused !== undefined)
    parent.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
  return parent;
}

/** A row of buttons of which one is chosen. `options` are pairs of a value and its name. */
export function choices(label, options, chosen, choose) {
  return make(
    "div",
    { class: "choices", role: "group", "aria-label": label },
    options.map(([value, name]) =>
      make(
        "button",
        {
          type: "button",
          "data-key": `${label}:${value}`,
          "aria-pressed": String(value === chosen),
          onclick: () => choose(value),
        },
        name,
      ),
    ),
  );
}

/** A labelled slider that shows its value; `input` is called while it moves. */
export function slider(label, { min, max, step = 1, value, name = String, key = label, input }) {
  const output = make("output", {}, name(value));
  const control = make("input", {
    type: "range",
    min,
    max,
    step,
    value,
    "data-key": key,
    "aria-valuetext": name(value),
    oninput: () => {
      const now = Number(control.value);
      output.textContent = name(now);
      control.setAttribute("aria-valuetext", name(now));
      input(now);
    },
  });
  control.value = value;
  return make("label", { class: "field" }, make("span", {}, `${label} `, output), control);
}

/** A list of terms and their values. */
export function facts(pairs) {
  return make(
    "dl",
    { class: "facts" },
    pairs.map(([term, value]) => [make("dt", {}, term), make("dd", {}, value)]),
  );
}

/** The heading of a view: one question, and a paragraph about it. */
export function heading(question, ...lead) {
  return make("header", {}, make("h2", {}, question), make("p", { class: "lead" }, lead));
}
