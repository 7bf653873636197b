// How does it learn? The loss, the updates, the batch and samples, while training runs.

import { batchPanel } from "./batch_panel.js";
import { Delayed } from "./busy.js";
import { facts, heading, make, show } from "./elements.js";
import { integer, number, percent } from "./format.js";
import { command, forgetTwin, records, status } from "./lab.js";
import { LineChart } from "./line_chart.js";
import { set, text } from "./state.js";

const PACE = 200; // milliseconds between two drawings of the curves
const MAX_POINTS = 600; // of a line
const LAYERS_SHOWN = 6; // lines of the chart of updates; the table has all

/** Every n-th record, and the last. */
function thinned(all) {
  const every = Math.ceil(all.length / MAX_POINTS);
  return all.filter((_, i) => i % every === 0 || i === all.length - 1);
}

const line = (name, from, value, options = {}) => ({
  name,
  xs: from.map(({ step }) => step),
  ys: from.map(value),
  ...options,
});

export function trainView() {
  const losses = new LineChart({
    title: "Loss",
    unit: "nats per token",
    note: "Two lines of reference: ln V is the loss of a uniform guess among V tokens; the entropy of the unigrams is the loss of knowing only how frequent each token is.",
  });
  const updates = new LineChart({
    title: "Size of each layer's update, relative to its weights",
    unit: "ratio",
    log: true,
    height: 220,
    note: "Norm of one step's change divided by the norm of the weights. About 1/1,000 is usual; far above it, a layer forgets; far below, it hardly learns.",
  });
  const rate = make("div", {}),
    twin = make("div", { class: "panel", "data-part": "" }),
    sample = make("div", { class: "panel", "data-part": "" }),
    now = make("div", { class: "panel" }),
    batch = batchPanel();
  const element = make(
    "section",
    { class: "view" },
    heading(
      "How does it learn?",
      "Each step reads a batch of text, measures how surprised the model is by every next token, and moves all weights a little so that it would be less surprised. Play, pause, go back: the same steps come again, to the bit.",
    ),
    make(
      "div",
      { class: "columns" },
      make("div", { class: "stack" }, losses.element, updates.element),
      make("div", { class: "stack" }, now, rate, sample, twin, batch.element),
    ),
  );
  function drawCurves() {
    const own = thinned(records(status.branch)),
      other = status.twin ? thinned(records("twin")) : [];
    const evaluated = records(status.branch).filter(({ valLoss }) => valLoss !== undefined && valLoss !== null);
    const hasLoss = own.filter(({ trainLoss }) => trainLoss !== undefined);
    losses.show({
      series: [
        line("training", hasLoss, (one) => one.trainLoss, { style: 0 }),
        line("validation", evaluated, (one) => one.valLoss, { style: 2, points: true }),
        ...(other.length
          ? [
              line(
                "twin with a fault",
                other.filter(({ trainLoss }) => trainLoss !== undefined),
                (one) => one.trainLoss,
                { style: 1, dash: 1 },
              ),
            ]
          : []),
      ],
      lines: [
        ["ln V", status.lines.lnV],
        ["unigram entropy", status.lines.unigram],
      ]
        .filter(([, y]) => y !== null)
        .map(([name, y]) => ({ name, y })),
      cursor: status.step,
      select: (step) => status.canTrain && command("goto", { at: `${status.branch}@${step}` }),
    });
    const layers = status.layers ?? [],
      measured = own.filter((one) => one.updates);
    const every = Math.max(1, Math.ceil(layers.length / LAYERS_SHOWN));
    updates.show({
      series: layers.flatMap((name, i) =>
        i % every
          ? []
          : [
              line(name, measured, (one) => one.updates[i] / one.weights[i], {
                style: (i / every) % 5,
                dash: Math.floor(i / every / 5),
              }),
            ],
      ),
      cursor: status.step,
    });
    drawNow();
    drawSample();
  }

  function drawNow() {
    const last = records(status.branch)
      .filter(({ step, trainLoss }) => step <= status.step && trainLoss !== undefined)
      .pop();
    show(
      now,
      make(
        "p",
        {},
        "Step ",
        make("span", { class: "big" }, integer(status.step ?? 0)),
        last ? [", training loss ", make("span", { class: "big" }, number(last.trainLoss)), " nats"] : "",
      ),
      last
        ? facts([
            ["probability of the right token", `${percent(Math.exp(-last.trainLoss))} (geometric mean)`],
            ["norm of the gradient", number(last.gradNorm)],
            ["learning rate of this step", number(last.learningRate)],
            ["time of this step", `${number(1000 * last.seconds, 3)} ms`],
          ])
        : null,
    );
  }

  function drawRate() {
    if (!status.canTrain)
      return show(
        rate,
        make(
          "p",
          { class: "note" },
          status.whyNot || "This page is saved: it shows a training, and cannot go on with it.",
        ),
      );
    const input = make("input", {
      type: "text",
      class: "short",
      inputmode: "decimal",
      value: number(status.rate).replace("−", "-"),
      "data-key": "rate",
      "aria-label": "Learning rate",
      onkeydown: (event) => event.key === "Enter" && apply(),
    });
    const apply = () => command("rate", { rate: Number(input.value) });
    const factor = (name, by) =>
      make(
        "button",
        {
          type: "button",
          "data-key": `rate${by}`,
          onclick: () => command("rate", { rate: Number((status.rate * by).toPrecision(6)) }),
        },
        name,
      );
    const samples = make(
      "select",
      {
        "data-key": "sample-every",
        onchange: (event) => command("sample_every", { steps: Number(event.target.value) }),
      },
      [0, 10, 25, 50, 100, 250]
        .concat([0, 10, 25, 50, 100, 250].includes(status.sampleEvery) ? [] : status.sampleEvery)
        .map((n) => make("option", { value: n, selected: n === status.sampleEvery }, n ? `every ${n} steps` : "never")),
    );
    return show(
      rate,
      make(
        "div",
        { class: "panel", "data-part": "" },
        make("h3", {}, "Learning rate"),
        make(
          "div",
          { class: "row" },
          input,
          make("button", { type: "button", "data-key": "set-rate", onclick: apply }, "Set"),
          factor("× ½", 0.5),
          factor("× 2", 2),
          factor("× 10", 10),
        ),
        make("p", { class: "note" }, "A new rate begins a branch at this step; the steps so far are kept."),
        make("label", { class: "row" }, "A sample of text ", samples),
      ),
    );
  }

  function drawSample() {
    const sampled = records(status.branch)
      .filter((one) => one.sample !== undefined && one.sample !== null && one.step <= status.step)
      .pop();
    show(
      sample,
      make("h3", {}, "What it writes"),
      sampled
        ? [
            make("p", { class: "note" }, `after step ${integer(sampled.step)}`),
            make("p", { class: "working" }, sampled.sample),
          ]
        : make("p", { class: "note" }, "No sample yet."),
    );
  }

  function drawTwin() {
    if (!status.canTrain || !status.faults?.length)
      return show(
        twin,
        make("h3", {}, "A twin with a fault"),
        make(
          "p",
          { class: "note" },
          "A running lab that trains can also train a second model, with one mistake in its code.",
        ),
      );
    const known = status.faults.find(({ name }) => name === status.twin?.fault);
    const choose = make(
      "select",
      {
        "data-key": "fault",
        "aria-label": "Fault of the twin",
        onchange: (event) => {
          forgetTwin();
          set({ fault: event.target.value });
          command("twin", { fault: event.target.value || null });
        },
      },
      make("option", { value: "" }, "no twin"),
      status.faults.map(({ name }) => make("option", { value: name, selected: name === status.twin?.fault }, name)),
    );
    return show(
      twin,
      make("h3", {}, "A twin with a fault"),
      make(
        "p",
        { class: "note" },
        "The same seeds and batches, trained by code with one classic mistake. Programs with such mistakes seldom stop; they only learn less well.",
      ),
      choose,
      known
        ? [
            make("p", {}, known.story),
            make(
              "dl",
              { class: "facts" },
              make("dt", {}, "wrong"),
              make("dd", { class: "mono" }, known.wrong),
              make("dt", {}, "right"),
              make("dd", { class: "mono" }, known.right),
            ),
          ]
        : null,
      status.twin?.hidden ? make("p", {}, "Its fault is hidden: the last screen of the Tour hunts it.") : null,
      status.twin?.ended ? make("p", {}, `The twin has ended: ${status.twin.ended}`) : null,
    );
  }

  const drawing = new Delayed();
  let told = "";
  function drawAll() {
    drawCurves();
    const key = JSON.stringify([status.rate, status.twin, status.sampleEvery, status.branch, status.canTrain]);
    if (key !== told) {
      told = key;
      drawRate();
      drawTwin();
    }
  }

  function restoreTwin() {
    const wanted = text("fault");
    if (status.canTrain && wanted && !status.twin && status.faults?.some(({ name }) => name === wanted))
      command("twin", { fault: wanted });
  }
  restoreTwin();
  return {
    element,
    update(keys) {
      drawAll();
      if (!keys || keys.includes("at")) batch.update();
    },
    /** Records come up to ten times a second; the curves need not. */
    onLab() {
      // While training plays, the view is never done, and may be read all the same.
      if (!drawing.waits) drawing.start(PACE, () => element.isConnected && drawAll(), status.playing);
    },
  };
}
