// Two histograms below each other: of the weights and of the gradients of a parameter.

import { draw, make } from "./elements.js";
import { integer, number } from "./format.js";

const HEIGHT = 40;

/** `counts` of equal bins from `low` to `high`. */
export function histogram(name, { low, high, counts }, kind) {
  const tallest = Math.max(...counts) || 1;
  return make(
    "div",
    { class: "histogram" },
    make("span", { class: "note" }, name),
    draw(
      "svg",
      {
        viewBox: `0 0 ${counts.length} ${HEIGHT}`,
        preserveAspectRatio: "none",
        role: "img",
        "aria-label": `${name}: from ${number(low, 3)} to ${number(high, 3)}, the fullest bin has ${integer(tallest)}`,
      },
      counts.map((count, i) =>
        draw("rect", {
          class: kind,
          x: i + 0.05,
          width: 0.9,
          y: HEIGHT * (1 - (count ? Math.max(0.03, count / tallest) : 0)),
          height: HEIGHT * (count ? Math.max(0.03, count / tallest) : 0),
        }),
      ),
    ),
    make("div", { class: "row" }, make("span", {}, number(low, 3)), make("span", {}, number(high, 3))),
  );
}
