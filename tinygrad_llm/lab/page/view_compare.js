// What changed? Two steps, checkpoints or models, with their difference, in four of the other views.

import { ask } from "./api.js";
import { Attention } from "./attention.js";
import { Bars } from "./bars.js";
import { Delayed } from "./busy.js";
import { Scale } from "./colours.js";
import { choices, facts, heading, make, show, slider } from "./elements.js";
import { integer, named, number, percent, signed, visible } from "./format.js";
import { HeatMap } from "./heat_map.js";
import { newest, status, vocabulary, where } from "./lab.js";
import { LineChart } from "./line_chart.js";
import { ranked, softmax } from "./sampling.js";
import { index, set, text } from "./state.js";
import { Thumbnails } from "./thumbnails.js";
import { promptField, promptText } from "./view_prompt.js";
import { chosenWeight, parameterChoice, windowOf } from "./view_weight.js";

const KINDS = [
  ["prompt", "Prompt"],
  ["heads", "Heads"],
  ["backward", "Backward"],
  ["weight", "Weights"],
];
const SHOWN = 12;
const moving = new Delayed();

const other = () =>
  text(
    "with",
    status.canTrain && status.at !== "live"
      ? `${status.branch}@${status.firstStep ?? 0}`
      : (status.models?.find(({ name }) => `model:${name}` !== where())?.name.replace(/^/, "model:") ?? status.at),
  );

/** Everything that can be compared besides single steps: branches, the twin and models. */
function sides() {
  return [
    ...(status.branches ?? []).map(({ name }) => [name, `branch ${name}`]),
    ...(status.twin ? [["twin", "the twin"]] : []),
    ...(status.models ?? []).map(({ name, label }) => [`model:${name}`, label]),
  ];
}

/** A choice of weights: a model, or a branch and a step of it. */
function place(label, value, change) {
  const [side, at] = value.startsWith("model:") ? [value, null] : value.split("@");
  const last =
    status.branches?.find(({ name }) => name === side)?.last ?? (side === "twin" ? (status.twin?.step ?? 0) : 0);
  return make(
    "div",
    { class: "row" },
    make(
      "label",
      { class: "field" },
      make("span", {}, label),
      make(
        "select",
        {
          "data-key": label,
          onchange: (event) =>
            change(
              event.target.value.startsWith("model:")
                ? event.target.value
                : `${event.target.value}@${status.firstStep ?? 0}`,
            ),
        },
        sides().map(([name, title]) => make("option", { value: name, selected: name === side }, title)),
      ),
    ),
    at === null || at === undefined
      ? null
      : slider("step", {
          min: status.firstStep ?? 0,
          max: Math.max(last, Number(at)),
          value: Number(at),
          key: `${label} step`,
          name: integer,
          input: (step) => {
            moving.start(200, () => change(`${side}@${step}`));
          },
        }),
  );
}

export function compareView() {
  const field = promptField(),
    sidesPanel = make("div", { class: "panel columns", "data-part": "" }),
    kinds = make("div", {}),
    body = make("div", { class: "view" });
  const element = make(
    "section",
    { class: "view" },
    heading(
      "What changed?",
      "The same question to two sets of weights: two steps of this training, two checkpoints, two models. On the pictures of differences, blue is more in A, red is more in B.",
    ),
    sidesPanel,
    kinds,
    field.element,
    body,
  );
  const kind = () => (KINDS.some(([name]) => name === text("what")) ? text("what") : "prompt");

  function drawSides() {
    const here = where();
    show(
      sidesPanel,
      status.canTrain
        ? make(
            "p",
            {},
            "A: ",
            make("b", {}, status.at === "live" ? "the opened model" : `${status.branch}, step ${integer(status.step)}`),
            make("br"),
            make("span", { class: "note" }, "the step at which training stands; move it above"),
          )
        : place("A", here, (at) => set({ at })),
      place("B", other(), (at) => set({ with: at })),
    );
    show(
      kinds,
      choices("What is compared", KINDS, kind(), (name) => set({ what: name })),
    );
  }

  async function both(name, request) {
    return Promise.all([where(), other()].map((at) => ask(name, request(at))));
  }

  function haveSameTokens(a, b) {
    if (a.tokens.length === b.tokens.length && a.tokens.every(({ id }, i) => id === b.tokens[i].id)) return true;
    show(
      body,
      make(
        "p",
        {},
        `A cuts the text into ${a.tokens.length} tokens, B into ${b.tokens.length} or into others: their tokens cannot be compared one by one.`,
      ),
    );
    return false;
  }

  async function comparePrompt(isCurrent) {
    const [[a, b], { texts }] = await Promise.all([both("look", (at) => ({ prompt: promptText(), at })), vocabulary()]);
    if (!isCurrent() || !haveSameTokens(a, b)) return;
    const p = softmax(a.logits.data),
      q = softmax(b.logits.data);
    const divergence = p.reduce((sum, x, i) => (x > 0 && i in q ? sum + x * Math.log(x / q[i]) : sum), 0);
    const items = ranked(p.map((x, i) => Math.max(x, q[i] ?? 0)))
      .slice(0, SHOWN)
      .map((id) => ({ key: id, text: texts[id], probability: p[id], before: q[id] }));
    const bars = new Bars({
      title: "The next token: A as bars, B pale behind",
      items,
      describe: (item) => `“${visible(item.text)}”: A ${percent(item.probability)}, B ${percent(item.before)}`,
    });
    const xs = [...a.losses.data.keys()].map((i) => i + 1);
    const losses = new LineChart({
      title: "Loss of each token",
      unit: "nats",
      xIs: "token",
      series: [
        { name: "A", xs, ys: a.losses.data, points: true },
        { name: "B", xs, ys: b.losses.data, style: 1, dash: 1, points: true },
      ],
    });
    show(
      body,
      facts([
        ["mean loss", `A ${number(a.loss)}, B ${number(b.loss)}: A − B = ${signed(a.loss - b.loss)} nats`],
        ["divergence of the next token, KL(A‖B)", `${number(divergence)} nats`],
      ]),
      make("div", { class: "columns" }, bars.element, losses.element),
    );
  }

  async function compareHeads(isCurrent) {
    const [a, b] = await both("look", (at) => ({ prompt: promptText(), at }));
    if (!isCurrent() || !haveSameTokens(a, b)) return;
    const [first, second] = [new Attention(a.heads), new Attention(b.heads)];
    if (first.counts.join() !== second.counts.join())
      return void show(
        body,
        make(
          "p",
          {},
          `A has ${first.counts.join(", ")} heads in its layers, B ${second.counts.join(", ")}: they cannot be compared one by one.`,
        ),
      );
    const layer = index("layer", first.counts.length),
      head = index("head", first.counts[layer]);
    const labels = a.tokens.map(({ text: token }) => visible(token)),
      difference = (i, j, cell) => first.share(i, j, cell) - second.share(i, j, cell);
    const all = new Scale({ high: 1, low: -1, signed: true, unit: "A − B" });
    const size = (i, j) =>
      Math.max(...Array.from({ length: first.size }, (_, cell) => Math.abs(difference(i, j, cell))));
    const thumbnails = new Thumbnails({
      title: "All heads: A − B",
      counts: first.counts,
      tokens: first.tokens,
      scale: all,
      chosen: [layer, head],
      value: difference,
      columns: ["largest difference"],
      cells: (i, j) => [number(size(i, j), 3)],
      describe: (i, j) => `Layer ${i}, head ${j}: largest difference of a weight ${number(size(i, j), 3)}`,
      select: (i, j) => set({ layer: i, head: j }),
    });
    const map = (title, value, scale) =>
      new HeatMap({
        title,
        rows: labels,
        columns: labels,
        rowsAre: "query tokens",
        columnsAre: "key tokens",
        scale,
        empty: "masked",
        chosen: [index("token", labels.length, labels.length - 1), 0],
        value: (row, column) => (column > row ? null : value(first.cell(row, column))),
        describe: (row, column) =>
          column > row
            ? "masked"
            : `${named(a.tokens[row].text, row)} looks at ${named(a.tokens[column].text, column)}: A ${number(first.share(layer, head, first.cell(row, column)))}, B ${number(second.share(layer, head, first.cell(row, column)))}`,
      }).element;
    const shares = new Scale({ unit: "attention weight" });
    show(
      body,
      thumbnails.element,
      make(
        "div",
        { class: "columns narrow" },
        map(`A − B, layer ${layer}, head ${head}`, (cell) => difference(layer, head, cell), all),
        map("A", (cell) => first.share(layer, head, cell), shares),
        map("B", (cell) => second.share(layer, head, cell), shares),
      ),
    );
  }

  async function compareBackward(isCurrent) {
    const [a, b] = await both("backward", (at) => ({ prompt: promptText(), at }));
    if (!isCurrent()) return;
    if (a.operations.length !== b.operations.length)
      return void show(
        body,
        make(
          "p",
          {},
          `A has ${a.operations.length} operations, B ${b.operations.length}: they cannot be compared one by one.`,
        ),
      );
    const line = (name, answer, value, options) => ({
      name,
      xs: answer.operations.map((one) => one.index),
      ys: answer.operations.map(value),
      ...options,
    });
    const chart = (title, value) =>
      new LineChart({
        title,
        xIs: "operation",
        log: true,
        series: [line("A", a, value), line("B", b, value, { style: 1, dash: 1 })],
        cursor: index("op", a.operations.length),
        select: (op) => set({ op }),
      });
    const op = index("op", a.operations.length),
      norm = (answer) => answer.operations[op].backward?.dy.norm ?? null;
    show(
      body,
      facts([
        ["loss", `A ${number(a.loss)}, B ${number(b.loss)}`],
        [
          `operation ${op}`,
          `${a.operations[op].name}${a.operations[op].module ? `, in ${a.operations[op].module}` : ""}`,
        ],
        ["norm of its output", `A ${number(a.operations[op].stats.norm)}, B ${number(b.operations[op].stats.norm)}`],
        ["norm of its incoming gradient", `A ${number(norm(a))}, B ${number(norm(b))}`],
      ]),
      chart("Norm of each operation's output", (one) => one.stats.norm).element,
      chart("Norm of each operation's incoming gradient", (one) => one.backward?.dy.norm ?? NaN).element,
    );
  }

  async function compareWeights(isCurrent) {
    const weight = chosenWeight(),
      [a, b] = await both("array", (at) => ({ name: weight.name, at }));
    if (!isCurrent()) return;
    if (a.values.shape.join() !== b.values.shape.join())
      return void show(body, make("p", {}, `${weight.name} has other sizes in B.`));
    const columns = a.values.shape[1],
      at = (answer, row, column) => answer.values.at(row * columns + column),
      view = windowOf(weight, a, {});
    const difference = a.values.data.map((x, i) => x - b.values.data[i]),
      scale = Scale.of([...a.values.data, ...b.values.data], { signed: true });
    const map = (title, value, scaled) =>
      new HeatMap({
        title,
        ...view,
        scale: scaled,
        value,
        describe: (row, column) =>
          `${weight.name}[${view.indexOf(row, column).join(", ")}]: A ${number(at(a, row, column))}, B ${number(at(b, row, column))}, A − B ${signed(at(a, row, column) - at(b, row, column))}`,
        select: (row, column) => set({ weight: `${weight.name}:${view.indexOf(row, column).join(",")}` }),
      }).element;
    show(
      body,
      parameterChoice((name) =>
        set({
          weight: `${name}:${status.parameters
            .find((one) => one.name === name)
            .shape.map(() => 0)
            .join(",")}`,
        }),
      ),
      make(
        "div",
        { class: "columns narrow" },
        map("A − B", (row, column) => difference[row * columns + column], Scale.of(difference, { signed: true })),
        map("A", (row, column) => at(a, row, column), scale),
        map("B", (row, column) => at(b, row, column), scale),
      ),
    );
  }

  const renew = newest(async (isCurrent) => {
    field.element.hidden = kind() === "weight";
    await { prompt: comparePrompt, heads: compareHeads, backward: compareBackward, weight: compareWeights }[kind()](
      isCurrent,
    );
  });

  return {
    element,
    update(keys) {
      field.update();
      drawSides();
      if (keys?.length === 1 && keys[0] === "token") return undefined;
      return renew();
    },
  };
}
