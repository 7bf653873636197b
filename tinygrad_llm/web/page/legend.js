// The legend of a scale: its colours as a bar, with numbers below.

import { make } from "./elements.js";
import { number } from "./format.js";

const WIDTH = 200; // steps of colour

/** A bar of a scale's colours with the numbers that they stand for. */
export function legendBar(scale) {
  const bar = make("canvas", { width: WIDTH, height: 1, "aria-hidden": "true" });
  const pen = bar.getContext("2d");
  for (let x = 0; x < WIDTH; x++) {
    pen.fillStyle = `rgb(${scale
      .colourAt(scale.start + ((1 - scale.start) * (x + 0.5)) / WIDTH)
      .map(Math.round)
      .join(" ")})`;
    pen.fillRect(x, 0, 1, 1);
  }
  const ticks = scale.signed ? [-1, -0.6, 0, 0.6, 1] : [0, 0.5, 1];
  return make(
    "span",
    {
      role: "img",
      "aria-label": `Colours from ${number(scale.at(scale.start), 3)} to ${number(scale.high, 3)} ${scale.unit}`,
    },
    bar,
    make(
      "span",
      { class: "ticks" },
      ticks.map((t) => make("span", {}, number(scale.at(t), 2))),
    ),
    scale.unit ? make("span", {}, scale.unit) : null,
  );
}
