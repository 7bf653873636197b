// The screens of the tour that look inside: attention, gradients, one weight.

import { ask } from "./api.js";
import { Attention } from "./attention.js";
import { Scale } from "./colours.js";
import { facts, make } from "./elements.js";
import { named, number, percent, signed, visible } from "./format.js";
import { HeatMap } from "./heat_map.js";
import { status } from "./lab.js";
import { index, numeric, set } from "./state.js";
import { WARM, inline, look, at, trained } from "./tour_parts.js";
import { promptText } from "./view_prompt.js";

function headChoice(redraw) {
  const heads = status.heads.flatMap((count, layer) => Array.from({ length: count }, (_, head) => [layer, head]));
  return make(
    "select",
    {
      "data-key": "tour:head",
      "aria-label": "Head",
      onchange: (event) => {
        const [layer, head] = event.target.value.split(".");
        set({ layer, head });
        redraw();
      },
    },
    heads.map(([layer, head]) =>
      make(
        "option",
        { value: `${layer}.${head}`, selected: layer === numeric("layer") && head === numeric("head") },
        `head ${head} of layer ${layer}`,
      ),
    ),
  );
}

const chosenHead = () => {
  const layer = index("layer", status.heads.length);
  return [layer, index("head", status.heads[layer])];
};

export const INSIDE = [
  {
    title: "Looking back",
    text: (redraw) => [
      "In a head, each token spreads a weight of 1 over tokens and takes up a mixture of what they offer. Look at ",
      inline(headChoice(redraw)),
      ": rows look, columns are looked at.",
    ],
    question: "May a token look at one that comes after it?",
    options: () => ["Yes", "No", "Only in the last layer"],
    async answer() {
      const answer = await look(at()),
        heads = new Attention(answer.heads),
        [layer, head] = chosenHead(),
        labels = answer.tokens.map(({ text }) => visible(text));
      return {
        right: 1,
        content: [
          make(
            "p",
            {},
            "No: its loss is about predicting exactly these tokens. Everything above the diagonal is masked, in every head, before the softmax.",
          ),
          new HeatMap({
            title: `Layer ${layer}, head ${head}`,
            rows: labels,
            columns: labels,
            rowsAre: "tokens that look",
            columnsAre: "tokens that are looked at",
            empty: "masked",
            scale: new Scale({ unit: "attention weight" }),
            value: (row, column) => (column > row ? null : heads.share(layer, head, heads.cell(row, column))),
            describe: (row, column) =>
              column > row
                ? "masked"
                : `${named(answer.tokens[row].text, row)} looks at ${named(answer.tokens[column].text, column)}: ${percent(heads.share(layer, head, heads.cell(row, column)))}`,
          }).element,
        ],
      };
    },
  },
  {
    title: "Is this head needed?",
    text: (redraw) => [
      "The gradient makes a promise: if all weights A of a head were 0, the loss would change by −Σ A ⊙ ∂L/∂A, were it a straight line. Choose ",
      inline(headChoice(redraw)),
      " and switch it off in your mind.",
    ],
    question: "Without this head, the loss of this text will",
    options: () => ["rise", "fall", "hardly change (less than 0.001 nats)"],
    async answer() {
      const [layer, head] = chosenHead(),
        { off } = await ask("look", { prompt: promptText(), at: at(), off: [`${layer}.${head}`] });
      return {
        right: Math.abs(off.measured) < 0.001 ? 2 : off.measured > 0 ? 0 : 1,
        content: [
          make(
            "p",
            {},
            `Measured: ${signed(off.measured, 3)} nats, from ${number(off.baseline)} to ${number(off.loss)}. Promised: ${signed(off.promised, 3)}. The promise holds near the present weights; switching off is a long way.`,
          ),
        ],
      };
    },
  },
  {
    title: "A slope that you can measure",
    text: () => [
      "backward() computes the gradient of every number in one walk. But a slope can also be measured: move one weight by a tiny ε up and down, run the model twice, and divide the difference of the losses by 2ε. Here it is done for the first weight that a ",
      make("code", {}, "linear"),
      " reads, in 64-bit numbers.",
    ],
    question: "The measured slope and that of backward() will agree",
    options: () => ["not at all", "in the first digit or two", "in six digits or more"],
    async answer() {
      const graph = await ask("backward", { prompt: promptText(), at: at() });
      const operation = graph.operations.find(
          (one) => one.backward && one.operands.some((x) => x.parameter && x.shape.length === 2),
        ),
        operand = operation.operands.find((x) => x.parameter && x.shape.length === 2);
      const result = await ask("measure", {
        prompt: promptText(),
        at: at(),
        index: operation.index,
        name: operand.name,
        element: [0, 0],
      });
      const relative = Math.abs(result.difference) / Math.max(Math.abs(result.backward), 1e-12);
      return {
        right: relative < 1e-5 ? 2 : relative < 0.3 ? 1 : 0,
        content: [
          make("p", {}, "For ", make("code", {}, `${operand.parameter}[0, 0]`), ":"),
          facts([
            ["measured", number(result.measured, 9)],
            ["backward", number(result.backward, 9)],
            ["difference", number(result.difference, 2)],
          ]),
          make("p", {}, "The view Backward measures any element that you click."),
        ],
      };
    },
  },
  {
    title: "One weight and its step",
    text: () => [
      "AdamW keeps two running averages for each weight: m of the gradient, v of its square. Its step is about −rate · m/√v.",
    ],
    question: "If all gradients were ten times as large, the steps would be",
    options: () => ["ten times as large", "the same", "a tenth"],
    async answer() {
      await trained(WARM);
      const { name, shape } = status.parameters.find((one) => one.shape.length === 2) ?? status.parameters[0],
        place = shape.map(() => 0);
      const one = await ask("weight", { name, index: place, at: at(), steps: 40 });
      return {
        right: 1,
        content: [
          make(
            "p",
            {},
            "m grows tenfold, and √v too: the quotient stays. So one rate serves layers whose gradients differ a thousandfold. For ",
            make("code", {}, `${name}[${place.join(", ")}]`),
            ":",
          ),
          facts([
            ["gradient", number(one.gradient)],
            ["m", number(one.m)],
            ["√v", number(Math.sqrt(one.v))],
            ["m/√v", one.v > 0 ? number(one.m / Math.sqrt(one.v)) : "none"],
            ["rate", number(status.rate)],
            ["update", signed(one.update)],
          ]),
        ],
      };
    },
  },
];
