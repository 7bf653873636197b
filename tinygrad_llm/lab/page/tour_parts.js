// What several screens of the tour share: their controls, and what they ask of the lab.

import { ask } from "./api.js";
import { make } from "./elements.js";
import { integer } from "./format.js";
import { command, status } from "./lab.js";
import { promptText } from "./view_prompt.js";

export const WARM = 150; // steps after which the screens about a trained model look at it

export const button = (key, name, act) =>
  make("button", { type: "button", "data-key": `tour:${key}`, onclick: act }, name);
export const inline = (...children) => make("span", { class: "inline" }, children);
export const look = (at) => ask("look", { prompt: promptText(), at });
export const at = () => status.at;
export const size = () => status.model.settings.vocab_size;

/** Wait until training stands at `step` at least. */
export async function trained(step) {
  if (status.step < step) await command("goto", { at: `${status.branch}@${step}` });
}

/** A slider that takes training to a step, in the middle of a sentence. */
export function stepper() {
  const output = make("output", {}, integer(status.step));
  const input = make("input", {
    type: "range",
    min: 0,
    max: 300,
    step: 10,
    value: Math.min(300, status.step),
    "data-key": "tour:step",
    "aria-label": "Step",
    oninput: () => {
      output.textContent = input.value;
    },
    onchange: () => command("goto", { at: `${status.branch}@${input.value}` }),
  });
  return inline(input, output);
}
