// What does AdamW do with one weight? Its value, gradient and moments over time; type another value and see.

import { ask } from "./api.js";
import { Scale } from "./colours.js";
import { choices, facts, heading, make, show, slider } from "./elements.js";
import { number, shape, signed } from "./format.js";
import { HeatMap } from "./heat_map.js";
import { command, newest, status, where } from "./lab.js";
import { LineChart } from "./line_chart.js";
import { set, text } from "./state.js";

const KINDS = [
  ["values", "Weights"],
  ["gradient", "Gradients"],
  ["m", "First moments m"],
  ["v", "Second moments v"],
];
const STEPS = 40; // that are shown one by one

/** The weight of the fragment: name of its parameter and index, or the first weight of the model. */
export function chosenWeight() {
  const [name, at = ""] = text("weight").split(":");
  const parameter = status.parameters.find((one) => one.name === name) ?? status.parameters[0];
  const wanted = at.split(",").map(Number);
  const isValid =
    parameter.name === name &&
    wanted.length === parameter.shape.length &&
    wanted.every((x, i) => Number.isInteger(x) && x >= 0 && x < parameter.shape[i]);
  return { name: parameter.name, shape: parameter.shape, at: isValid ? wanted : parameter.shape.map(() => 0) };
}

/** A choice among all parameters. */
export function parameterChoice(changed) {
  const { name } = chosenWeight();
  return make(
    "label",
    { class: "field", "data-part": "" },
    make("span", {}, "Parameter"),
    make(
      "select",
      { "data-key": "parameter", onchange: (event) => changed(event.target.value) },
      status.parameters.map((one) =>
        make("option", { value: one.name, selected: one.name === name }, `${one.name}  ${shape(one.shape)}`),
      ),
    ),
  );
}

/** The window of a parameter around its chosen element, of at most 64 rows and columns. */
export function windowOf({ shape: sizes, at }, value, options) {
  const { values, corner } = value,
    [rows, columns] = values.shape,
    rank = sizes.length;
  const first = [rank > 1 ? corner[rank - 2] : 0, corner[rank - 1] ?? 0],
    lead = corner.slice(0, Math.max(0, rank - 2));
  return {
    rows: Array.from({ length: rows }, (_, i) => String(first[0] + i)),
    columns: Array.from({ length: columns }, (_, i) => String(first[1] + i)),
    square: rows > 1,
    rowsAre: rank > 1 ? `axis ${rank - 2}` : "all of it",
    columnsAre: `axis ${Math.max(0, rank - 1)}`,
    chosen: [
      Math.max(0, Math.min(rows - 1, (at.at(-2) ?? first[0]) - first[0])),
      Math.max(0, Math.min(columns - 1, (at.at(-1) ?? 0) - first[1])),
    ],
    indexOf: (row, column) => (rank === 1 ? [first[1] + column] : [...lead, first[0] + row, first[1] + column]),
    ...options,
  };
}

export function weightView() {
  const choice = make("div", {}),
    movers = make("div", { class: "columns" }),
    kind = make("div", {}),
    story = make("div", { class: "panel", "data-part": "" });
  const map = new HeatMap({
    title: "The parameter",
    rows: [""],
    columns: [""],
    value: () => null,
    rowsAre: "",
    columnsAre: "",
  });
  const chart = (title, note, options = {}) => new LineChart({ title, note, height: 170, ...options });
  const long = chart("Its value through the whole training", "From the snapshots that the lab keeps.");
  const value = chart("Value, step by step", "The last steps, replayed."),
    gradient = chart(
      "Gradient and first moment m",
      "m is a moving average of the gradient: the direction of the step.",
    ),
    moment = chart(
      "Second moment v",
      "v is a moving average of the squared gradient: the larger, the smaller the step.",
    ),
    update = chart("Update", "What the step added to the weight.");
  const element = make(
    "section",
    { class: "view" },
    heading(
      "What does AdamW do with one weight?",
      "Every weight has a value, a gradient and two running averages. Follow one through the steps; type another value, and a branch of the training goes on with it.",
    ),
    choice,
    make("div", { class: "columns" }, make("div", { class: "stack" }, kind, map.element, movers), story),
    make("div", { class: "columns" }, long.element, value.element, gradient.element, moment.element, update.element),
  );
  let corner = null,
    array = null,
    change = null; // what the last change of a weight did: {name, at, words}

  const choose = (name, at) => set({ weight: `${name}:${at.join(",")}` });
  const shownKind = () =>
    KINDS.some(([key]) => key === text("part")) && array?.[text("part")] ? text("part") : "values";

  function drawArray() {
    const weight = chosenWeight();
    show(
      choice,
      parameterChoice((name) => {
        corner = null;
        choose(
          name,
          status.parameters.find((one) => one.name === name).shape.map(() => 0),
        );
      }),
    );
    show(
      kind,
      choices(
        "What is shown",
        KINDS.filter(([key]) => array[key]),
        shownKind(),
        (key) => set({ part: key === "values" ? null : key }),
      ),
    );
    const shown = array[shownKind()],
      columns = shown.shape[1];
    const view = windowOf(weight, array, {});
    map.element.querySelector("h3").textContent =
      `${weight.name}: ${KINDS.find(([key]) => key === shownKind())[1].toLowerCase()}`;
    map.show({
      ...view,
      value: (row, column) => shown.at(row * columns + column),
      scale: Scale.of(shown.data),
      describe: (row, column) =>
        `${weight.name}[${view.indexOf(row, column).join(", ")}]: ${KINDS.filter(([key]) => array[key])
          .map(
            ([key, name]) =>
              `${name
                .toLowerCase()
                .replace(/s$/, "")
                .replace(/s (.)$/, " $1")} ${number(array[key].at(row * columns + column))}`,
          )
          .join(", ")}`,
      select: (row, column) => choose(weight.name, view.indexOf(row, column)),
    });
    const most = weight.shape.map((size, axis) =>
      axis >= weight.shape.length - 2
        ? Math.max(0, size - array.values.shape[axis - weight.shape.length + 2])
        : size - 1,
    );
    show(
      movers,
      most.flatMap((last, axis) =>
        last > 0
          ? [
              slider(`axis ${axis} from`, {
                min: 0,
                max: last,
                value: array.corner[axis],
                key: `corner:${axis}`,
                input: (now) => {
                  corner = array.corner.map((x, i) => (i === axis ? now : x));
                  renew();
                },
              }),
            ]
          : [],
      ),
    );
  }

  function drawStory(weight, one) {
    const name = `${weight.name}[${weight.at.join(", ")}]`;
    const input = make("input", {
      type: "text",
      class: "short",
      inputmode: "decimal",
      "data-key": "new-value",
      "aria-label": "New value",
      value: number(one.value).replaceAll("−", "-"),
      onkeydown: (event) => event.key === "Enter" && apply(),
    });
    const apply = async () => {
      const answer = await command("set_weight", { name: weight.name, index: weight.at, value: Number(input.value) });
      if (!answer) return;
      const words = make(
        "p",
        {},
        "Loss of the last batch: ",
        make("b", {}, number(answer.lossBefore, 6)),
        " before, ",
        make("b", {}, number(answer.lossAfter, 6)),
        ` after: ${signed(answer.lossAfter - answer.lossBefore, 3)} nats. Branch “${answer.branch}” goes on from here.`,
      );
      change = { name, at: answer.at, words };
      drawChange(name);
    };
    show(
      story,
      make("h3", { class: "mono" }, name),
      facts([
        ["value", number(one.value, 6)],
        ["gradient g", number(one.gradient)],
        ["m = β₁ m + (1 − β₁) g", number(one.m)],
        ["v = β₂ v + (1 − β₂) g²", number(one.v)],
        ["last update", one.update === null ? "none yet" : signed(one.update)],
        ["m / √v", one.v > 0 ? number(one.m / Math.sqrt(one.v)) : "none"],
      ]),
      make(
        "p",
        { class: "note" },
        "The step is about −rate · m / √v, corrected for the first steps, and a small pull to 0 (weight decay). Where the gradient keeps its sign, m / √v is near ±1; where it is noise, near 0.",
      ),
      status.canTrain
        ? make(
            "div",
            { class: "row" },
            make("span", {}, "Try the value"),
            input,
            make("button", { type: "button", "data-key": "set-value", onclick: apply }, "Set"),
            make(
              "button",
              {
                type: "button",
                "data-key": "zero",
                onclick: () => {
                  input.value = "0";
                  apply();
                },
              },
              "Set to 0",
            ),
          )
        : null,
      make("div", { "data-result": "" }),
    );
    drawChange(name);
  }

  function drawChange(name) {
    const isOfNow = change?.name === name && change.at === where();
    show(story.querySelector("[data-result]"), isOfNow ? change.words : null);
  }

  const renew = newest(async (isCurrent) => {
    const weight = chosenWeight(),
      at = where();
    const wanted =
      corner ??
      (weight.at.some((x, axis) => axis >= weight.shape.length - 2 && x > 63) || weight.shape.length > 2
        ? weight.at.map((x, axis) => (axis >= weight.shape.length - 2 ? Math.max(0, x - 32) : x))
        : undefined);
    const [loaded, one] = await Promise.all([
      ask("array", { name: weight.name, at, corner: wanted }),
      ask("weight", { name: weight.name, index: weight.at, at, steps: STEPS }),
    ]);
    if (!isCurrent()) return;
    array = loaded;
    one.value ??= one.sparse?.value.data.at(-1) ?? null; // before the first step there is no update
    drawArray();
    drawStory(weight, one);
    const line = (name, from, key, options) => ({ name, xs: from.steps.data, ys: from[key]?.data ?? [], ...options });
    const { sparse, dense } = one;
    long.show({ series: sparse ? [line("value", sparse, "value", { points: true })] : [], cursor: status.step });
    value.show({ series: dense ? [line("value", dense, "value")] : [] });
    gradient.show({
      series: dense ? [line("gradient", dense, "gradient", { style: 4 }), line("m", dense, "m", { style: 0 })] : [],
    });
    moment.show({ series: dense ? [line("v", dense, "v", { style: 2 })] : [] });
    update.show({ series: dense ? [line("update", dense, "update", { style: 1 })] : [] });
  });

  return {
    element,
    update(keys) {
      if (keys?.length === 1 && keys[0] === "part" && array) return drawArray();
      return renew();
    },
    onLab: () => {},
  };
}
