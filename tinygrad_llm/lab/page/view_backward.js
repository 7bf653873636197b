// How does the loss reach each number? The graph, one operation at a time, with its arrays, its code and a measurement.

import { ask, saved } from "./api.js";
import { arrayMap } from "./array_map.js";
import { Scale } from "./colours.js";
import { facts, heading, make, show, slider } from "./elements.js";
import { bytes, counted, integer, number, shape } from "./format.js";
import { newest, where } from "./lab.js";
import { listing } from "./listing.js";
import { index, set, text } from "./state.js";
import { around, nest, tree } from "./tree.js";
import { promptField, promptText } from "./view_prompt.js";

const PACE = 700; // milliseconds of an operation while it plays

/** The element of the fragment: its array's name and its index. */
function element() {
  const [name, at = ""] = text("element").split(":");
  return { name, at: at === "" ? [] : at.split(",").map(Number) };
}

export function backwardView() {
  const field = promptField(),
    graph = make("div", { "data-part": "" }),
    timeline = make("div", { "data-part": "" });
  const about = make("div", { class: "panel", "data-part": "" }),
    arrays = make("div", { class: "columns narrow" }),
    measured = make("div", { class: "panel", "data-part": "" }),
    sources = make("div", { class: "stack" });
  const section = make(
    "section",
    { class: "view" },
    heading(
      "How does the loss reach each number?",
      "backward() walks the operations in reverse. Each one receives the gradient of its output and hands on a gradient for everything that it read. Choose an operation, or step through the walk.",
    ),
    field.element,
    timeline,
    make(
      "div",
      { class: "columns" },
      make("div", { class: "stack" }, make("h3", {}, "Operations, folded by module"), graph),
      make("div", { class: "stack" }, about, measured),
    ),
    arrays,
    sources,
  );
  let answer = null,
    root = null,
    operation = null,
    corners = {},
    opened = new Set(),
    timer = null,
    known = "";

  const chosen = () => index("op", answer.operations.length, answer.order[0] ?? answer.operations.length - 1);
  const step = () => answer.order.indexOf(chosen());
  const select = (op) => set({ op, element: null });

  function drawTimeline() {
    const at = step(),
      count = answer.order.length;
    show(
      timeline,
      slider("Step of the backward pass", {
        min: 0,
        max: count - 1,
        value: Math.max(0, at),
        key: "walk",
        input: (i) => select(answer.order[i]),
        name: (i) => `${integer(i + 1)} of ${integer(count)}: ${answer.operations[answer.order[i]].name}`,
      }),
      make(
        "div",
        { class: "row" },
        make(
          "button",
          { type: "button", "data-key": "walk-back", disabled: at <= 0, onclick: () => move(-1) },
          "Nearer to the loss",
        ),
        make(
          "button",
          { type: "button", "data-key": "walk-play", class: "primary", onclick: play },
          timer ? "Pause" : "Play",
        ),
        make(
          "button",
          { type: "button", "data-key": "walk-on", disabled: at >= count - 1, onclick: () => move(1) },
          "Next operation",
        ),
      ),
    );
  }

  function move(by) {
    const next = answer?.order[Math.max(0, step()) + by];
    if (next === undefined) return stopPlaying();
    return select(next);
  }

  function stopPlaying() {
    clearInterval(timer);
    timer = null;
    if (answer) drawTimeline();
  }

  function play() {
    if (timer) return stopPlaying();
    timer = setInterval(() => (section.isConnected ? move(1) : stopPlaying()), PACE);
    return drawTimeline();
  }

  function drawTree() {
    const now = step(),
      place = new Map(answer.order.map((op, i) => [op, i]));
    for (const key of around(root, chosen())) opened.add(key);
    const total = (inside) => inside.reduce((sum, one) => sum + one.bytesKept, 0);
    const before = graph.querySelector(".tree")?.scrollTop ?? 0;
    show(
      graph,
      tree(root, {
        opened,
        chosen: chosen(),
        isDone: ({ index: op }) => now >= 0 && place.has(op) && place.get(op) < now,
        select,
        note: (one) => `${shape(one.shape)}${one.backward ? `, gradient ${number(one.backward.dy.norm, 2)}` : ""}`,
        noteOfModule: (inside) => `${counted(inside.length, "operation")}, ${bytes(total(inside))} kept`,
        toggle: (key) => {
          if (!opened.delete(key)) opened.add(key);
          drawTree();
        },
      }),
      make(
        "p",
        { class: "note" },
        `Norms of the incoming gradients beside the shapes. ${bytes(answer.kept)} of arrays copied${answer.refused ? `; ${answer.refused} arrays beyond the budget of ${bytes(answer.budget)} are not` : ""}.`,
      ),
    );
    const box = graph.querySelector(".tree"),
      mark = box.querySelector("[aria-pressed=true]");
    box.scrollTop = before;
    if (mark && (mark.offsetTop < box.scrollTop || mark.offsetTop > box.scrollTop + box.clientHeight - 40))
      box.scrollTop = mark.offsetTop - box.clientHeight / 2;
  }

  function drawAbout() {
    const one = answer.operations[chosen()];
    const from = (x) =>
      x.parameter ??
      (x.madeBy === null
        ? "an input"
        : make(
            "button",
            { type: "button", class: "quiet", "data-key": `made:${x.madeBy}`, onclick: () => select(x.madeBy) },
            `${x.madeBy} ${answer.operations[x.madeBy].name}`,
          ));
    show(
      about,
      make("h3", {}, `${one.index} ${one.name}${one.module ? `, in ${one.module}` : ""}`),
      make("pre", { class: "working" }, answer.formulas[one.formula] || "no formula"),
      facts([
        ...one.operands.map((x) => [x.name, [`${shape(x.shape)}, from `, from(x)]]),
        ["output", shape(one.shape)],
        [
          "forward",
          `${number(1e3 * one.seconds, 3)} ms, ${bytes(one.bytesMade)} made, ${bytes(one.bytesKept)} kept for backward`,
        ],
        ...(one.backward
          ? [
              ["backward", `${number(1e3 * one.backward.seconds, 3)} ms`],
              [`${one.backward.incoming}, incoming`, `norm ${number(one.backward.dy.norm)}`],
              ...one.operands.flatMap((x, i) =>
                one.backward.gradients[i]
                  ? [[`d${x.name}, outgoing`, `norm ${number(one.backward.gradients[i].norm)}`]]
                  : [],
              ),
            ]
          : [["backward", one.differentiable ? "no gradient reaches it" : "it needs no gradient"]]),
      ]),
    );
  }

  const drawArrays = newest(async (isCurrent) => {
    const loaded = await ask("operation", {
      prompt: promptText(),
      at: where(),
      index: chosen(),
      corners: Object.keys(corners).length ? corners : undefined,
    });
    if (!isCurrent()) return;
    operation = loaded;
    const gradients = operation.arrays.filter(({ role }) => role === "incoming" || role === "outgoing");
    const shared = Scale.of(
      gradients.flatMap(({ values }) => [...values.data]),
      { signed: true },
    );
    const missing = operation.notKept?.length
      ? make(
          "p",
          { class: "note" },
          `Not kept, because all arrays together would exceed ${bytes(answer.budget)}: ${operation.notKept.join(", ")}. A shorter text leaves room for more.`,
        )
      : null;
    show(
      arrays,
      operation.arrays.length
        ? operation.arrays.map((array) =>
            arrayMap(array, {
              scale: gradients.includes(array) ? shared : null,
              element: element(),
              choose: (at) => set({ element: at }),
              move: (corner) => {
                corners = { ...corners, [array.name]: corner };
                drawArrays();
              },
            }),
          )
        : null,
      missing,
    );
    show(
      sources,
      operation.source.call ? listing("The line of the model that calls it", operation.source.call) : null,
      make(
        "div",
        { class: "columns" },
        listing("Forward", operation.source.forward),
        operation.source.backward
          ? listing("Backward", operation.source.backward)
          : make("p", { class: "note" }, "It has no backward of its own."),
      ),
    );
    drawMeasured();
  });

  function drawMeasured(result = null) {
    const { name, at } = element(),
      array = operation?.arrays.find((one) => one.name === name && (one.role === "operand" || one.role === "output"));
    const button = make(
      "button",
      { type: "button", class: "primary", "data-key": "measure", disabled: !array || Boolean(saved), onclick: measure },
      "Measure this element",
    );
    show(
      measured,
      make("h3", {}, "Is the gradient right? Measure it"),
      make(
        "p",
        { class: "note" },
        "In 64-bit numbers, the element is moved up and down by a small ε; the loss changes by the slope times 2ε. backward() computes the same slope without moving anything.",
      ),
      array
        ? make(
            "p",
            {},
            "Element ",
            make("b", { class: "mono" }, `${name}[${at.join(", ")}]`),
            ` of operation ${chosen()}. Will it raise or lower the loss?`,
          )
        : make("p", {}, "Choose an element of an operand or of the output below."),
      button,
      result
        ? [
            make(
              "div",
              { class: "row" },
              make("p", {}, "measured ", make("span", { class: "big" }, number(result.measured, 8))),
              make("p", {}, "backward says ", make("span", { class: "big" }, number(result.backward, 8))),
            ),
            facts([
              ["difference", number(result.difference, 3)],
              ["ε", number(result.eps)],
              ["loss at value + ε", number(result.lossPlus, 12)],
              ["loss at value − ε", number(result.lossMinus, 12)],
              ["value", number(result.value, 6)],
            ]),
            result.note ? make("p", { class: "note" }, result.note) : null,
          ]
        : null,
    );
  }

  const measure = newest(async (isCurrent) => {
    const { name, at } = element();
    const result = await ask("measure", { prompt: promptText(), at: where(), index: chosen(), name, element: at });
    if (isCurrent()) drawMeasured(result);
  });

  const renew = newest(async (isCurrent) => {
    const loaded = await ask("backward", { prompt: promptText(), at: where() });
    if (!isCurrent()) return;
    const shapeOfGraph = loaded.operations.map(({ name, module }) => `${module}${name}`).join();
    answer = loaded;
    root = nest(answer.operations);
    if (shapeOfGraph !== known)
      opened = new Set(root.children.filter(({ children }) => children).map(({ key }) => key));
    known = shapeOfGraph;
    await draw();
  });

  async function draw() {
    drawTimeline();
    drawTree();
    drawAbout();
    await drawArrays();
  }

  return {
    element: section,
    playIs: "the backward pass",
    play,
    back: () => move(-1),
    forward: () => move(1),
    async update(keys) {
      field.update();
      if (keys?.length && answer && keys.every((key) => key === "op" || key === "element")) {
        if (keys.includes("op")) {
          corners = {};
          return draw();
        }
        return drawMeasured();
      }
      return renew();
    },
  };
}
