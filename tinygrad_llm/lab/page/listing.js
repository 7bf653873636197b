// Source code with line numbers, and marked lines.

import { make } from "./elements.js";

/** `source`: {file, first, lines, marked}. */
export function listing(title, source) {
  if (!source) return make("p", { class: "note" }, `${title}: no source is known.`);
  const lines = source.lines.map((line, i) =>
    make(
      "div",
      { class: source.marked.includes(source.first + i) ? "marked" : undefined },
      make("span", {}, String(source.first + i)),
      make("span", {}, line || " "),
    ),
  );
  const code = make(
    "div",
    { class: "code", role: "region", "aria-label": `${title}: ${source.file}`, tabindex: "-1", "data-stop": "" },
    lines,
  );
  requestAnimationFrame(() => {
    const mark = code.querySelector(".marked");
    if (mark) code.scrollTop = mark.offsetTop - code.offsetTop - 60;
  });
  return make(
    "div",
    { class: "stack", "data-part": "" },
    make("h3", {}, title),
    make("p", { class: "note mono" }, `${source.file}:${source.marked[0] ?? source.first}`),
    code,
  );
}
