// Where does each token look? All heads at once, one of them large, and what happens when some are switched off.

import { ask, saved } from "./api.js";
import { Attention } from "./attention.js";
import { Scale } from "./colours.js";
import { choices, facts, heading, make, show } from "./elements.js";
import { named, number, signed, visible } from "./format.js";
import { HeatMap } from "./heat_map.js";
import { newest, where } from "./lab.js";
import { index, list, set, text } from "./state.js";
import { Thumbnails } from "./thumbnails.js";
import { promptField, promptText } from "./view_prompt.js";
import { streamPictures } from "./view_stream.js";

const KINDS = [
  ["weights", "Attention weights"],
  ["gradients", "Their gradients"],
];
const SHARES = { low: 0, high: 1, unit: "attention weight" };

export function headsView() {
  const field = promptField(),
    stream = streamPictures(),
    kind = make("div", {});
  let look = null,
    attention = null,
    scales = null;
  const isOff = (layer, head) => list("off").includes(`${layer}.${head}`);
  const toggle = (layer, head) => {
    const name = `${layer}.${head}`,
      off = list("off");
    set({ layer, head, off: (off.includes(name) ? off.filter((one) => one !== name) : [...off, name]).join(",") });
  };
  const isGradient = () => text("show") === "gradients" && Boolean(attention?.gradients);
  const empty = () =>
    isGradient()
      ? "no gradient: masked, or the last token, which predicts nothing"
      : "masked: the key comes after the query";
  const value = (layer, head, cell) =>
    isGradient() ? attention.gradient(layer, head, cell) : attention.share(layer, head, cell);
  const promisedOf = (layer, head) =>
    attention.promised ? attention.promised.data[attention.head(layer, head)] : null;
  let measuredAlone = null;

  const thumbnails = new Thumbnails({
    title: "All heads",
    counts: [],
    tokens: 0,
    scale: new Scale(SHARES),
    isOff,
    columns: ["entropy (nats)", "largest gradient", "change promised if off", "change measured if off"],
    note: `One scale for all. Choose a head to see it large${saved ? "" : "; x switches it off or on"}.`,
    describe: (layer, head) =>
      attention
        ? `Layer ${layer}, head ${head}${isOff(layer, head) ? ", off" : ""}: mean entropy ${number(attention.entropy(layer, head), 3)} nats, largest gradient ${number(attention.largestGradient(layer, head), 3)}, promised change if off ${promisedOf(layer, head) === null ? "unknown" : signed(promisedOf(layer, head), 3)}`
        : "",
    cells: (layer, head) => [
      number(attention.entropy(layer, head), 3),
      number(attention.largestGradient(layer, head), 3),
      promisedOf(layer, head) === null ? "–" : signed(promisedOf(layer, head), 3),
      measuredAlone ? signed(measuredAlone.data[attention.head(layer, head)], 3) : "–",
    ],
    select: (layer, head) => set({ layer, head }),
    toggle: saved ? undefined : toggle,
    value,
  });
  const large = new HeatMap({
    title: "One head",
    rows: [""],
    columns: [""],
    value: () => null,
    rowsAre: "query tokens, which look",
    columnsAre: "key tokens, which are looked at",
    select: (query, key) => set({ token: query, key }),
  });
  const working = make("pre", { class: "working", "aria-live": "polite" }),
    workingTitle = make("h3", {}),
    off = make("div", { class: "panel", "data-part": "" });
  const streams = make(
    "details",
    { "data-part": "" },
    make("summary", {}, "The residual stream between the blocks"),
    make("div", { class: "columns" }, stream.elements),
  );
  streams.addEventListener("toggle", () => streams.open && stream.update());
  const element = make(
    "section",
    { class: "view" },
    heading(
      "Where does each token look?",
      "In every head each token spreads a weight of 1 over itself and the tokens before it. The gradient says what a little more weight would do to the loss.",
    ),
    field.element,
    kind,
    make(
      "div",
      { class: "columns" },
      make("div", { class: "stack" }, large.element, make("div", { class: "panel" }, workingTitle, working)),
      thumbnails.element,
    ),
    off,
    saved?.kind === "inspect" ? null : streams,
  );

  function chosen() {
    const layer = index("layer", attention.counts.length);
    return [layer, index("head", attention.counts[layer])];
  }

  function draw() {
    const [layer, head] = chosen(),
      { tokens } = look,
      count = attention.tokens;
    const query = index("token", count, count - 1),
      key = Math.min(index("key", count, 0), query);
    show(
      kind,
      choices(
        "What is shown",
        attention.gradients ? KINDS : KINDS.slice(0, 1),
        isGradient() ? "gradients" : "weights",
        (name) => set({ show: name === "weights" ? null : name }),
      ),
    );
    const scale = scales[isGradient() ? "gradients" : "weights"];
    thumbnails.show({ counts: attention.counts, tokens: count, scale, chosen: [layer, head] });
    const labels = tokens.map(({ text: token }) => visible(token));
    large.element.querySelector("h3").textContent =
      `Layer ${layer}, head ${head}: ${isGradient() ? "gradients of the attention weights" : "attention weights"}${isOff(layer, head) ? " (switched off)" : ""}`;
    large.show({
      rows: labels,
      columns: labels,
      scale,
      chosen: [query, key],
      empty: empty(),
      value: (row, column) => (column > row ? null : value(layer, head, attention.cell(row, column))),
      describe: (row, column) =>
        `${named(tokens[row].text, row)} looks at ${named(tokens[column].text, column)}: ${cellText(layer, head, row, column)}`,
    });
    workingTitle.textContent = `${named(tokens[query].text, query)} looks at ${named(tokens[key].text, key)}: how the number comes about`;
    working.textContent = attention.working(layer, head, query, key).join("\n");
  }

  function cellText(layer, head, row, column) {
    if (column > row) return "masked, the key comes after the query";
    const cell = attention.cell(row, column),
      gradient = attention.gradient(layer, head, cell);
    return `weight ${number(attention.share(layer, head, cell))}, ${gradient === null ? "no gradient: the last token predicts nothing" : `gradient ${number(gradient)}`}`;
  }

  function drawOff() {
    const [layer, head] = chosen(),
      switched = list("off"),
      answer = look.off;
    const button = make(
      "button",
      {
        type: "button",
        "data-key": "off",
        "aria-pressed": String(isOff(layer, head)),
        hidden: Boolean(saved),
        onclick: () => toggle(layer, head),
      },
      isOff(layer, head) ? `Switch layer ${layer}, head ${head} on again` : `Switch layer ${layer}, head ${head} off`,
    );
    const promised = promisedOf(layer, head);
    show(
      off,
      make("h3", {}, "Switch heads off: what was promised, and what happens"),
      make(
        "p",
        { class: "note" },
        "Off means that the head's attention weights A are all set to 0, so that the head adds nothing. The gradient promises a change of the loss of −Σ A ⊙ ∂L/∂A, as if the loss were a straight line; the measured change is that of a forward with the head off.",
      ),
      make(
        "div",
        { class: "row" },
        button,
        switched.length
          ? make("button", { type: "button", "data-key": "all-on", onclick: () => set({ off: null }) }, "All on")
          : null,
        saved
          ? null
          : make("button", { type: "button", "data-key": "ablate", onclick: measureAll }, "Measure every head alone"),
      ),
      answer
        ? [
            facts([
              ["off", answer.heads.map((name) => `layer ${name.replace(".", ", head ")}`).join("; ")],
              ["loss", `${number(answer.baseline)} → ${number(answer.loss)} nats`],
            ]),
            make(
              "div",
              { class: "row" },
              make("p", {}, "promised ", make("span", { class: "big" }, signed(answer.promised, 3))),
              make("p", {}, "measured ", make("span", { class: "big" }, signed(answer.measured, 3)), " nats"),
            ),
          ]
        : promised === null
          ? null
          : make(
              "p",
              {},
              `For layer ${layer}, head ${head} the gradient promises a change of `,
              make("b", {}, signed(promised, 3)),
              ` nats, from a loss of ${number(look.loss)}. ${saved ? "A running lab can measure it, too." : "Predict what will be measured, then switch it off."}`,
            ),
      measuredAlone ? comparison() : null,
    );
  }

  const measureAll = newest(async (isCurrent) => {
    const answer = await ask("ablate", { prompt: promptText(), at: where() });
    if (!isCurrent()) return;
    measuredAlone = answer.measured;
    draw();
    drawOff();
  });

  /** Promised and measured changes of all heads, in two maps on one scale. */
  function comparison() {
    const scale = Scale.of([...measuredAlone.data, ...attention.promised.data], { signed: true, unit: "nats" }),
      width = Math.max(...attention.counts);
    const map = (title, from) =>
      new HeatMap({
        title,
        rows: attention.counts.map((_, layer) => `layer ${layer}`),
        columns: Array.from({ length: width }, (_, head) => String(head)),
        rowsAre: "layers",
        columnsAre: "heads",
        scale,
        chosen: chosen(),
        value: (layer, head) => (head < attention.counts[layer] ? from.data[attention.head(layer, head)] : null),
        describe: (layer, head) =>
          `Layer ${layer}, head ${head}: promised ${signed(attention.promised.data[attention.head(layer, head)], 3)}, measured ${signed(measuredAlone.data[attention.head(layer, head)], 3)} nats`,
        select: (layer, head) => set({ layer, head }),
      }).element;
    return make(
      "div",
      { class: "columns" },
      map("Promised by the gradient, each head alone", attention.promised),
      map("Measured, each head alone", measuredAlone),
    );
  }

  const renew = newest(async (isCurrent) => {
    const answer = await ask("look", {
      prompt: promptText(),
      at: where(),
      off: list("off").length ? list("off") : undefined,
    });
    if (!isCurrent()) return;
    look = answer;
    attention = new Attention(look.heads);
    scales = {
      weights: new Scale(SHARES),
      gradients: attention.gradients
        ? Scale.of(attention.gradients.values, { signed: true, unit: "nats per unit of weight" })
        : null,
    };
    draw();
    drawOff();
    if (streams.open) await stream.update();
  });

  return {
    element,
    follows: true,
    async update(keys) {
      field.update();
      if (keys && attention && keys.every((key) => ["layer", "head", "token", "key", "show"].includes(key))) {
        draw();
        return keys.some((key) => key === "layer" || key === "head") ? drawOff() : undefined;
      }
      if (!keys || keys.includes("prompt") || keys.includes("at")) measuredAlone = null;
      return renew();
    },
  };
}
