// Lines over steps, with axes, lines of reference, a cursor and a readout.

import { draw, make } from "./elements.js";
import { integer, number } from "./format.js";
import { Picture, redrawn } from "./picture.js";

const LEFT = 58,
  RIGHT = 12,
  TOP = 12,
  BOTTOM = 34;
const MAX_ROWS = 400; // of the table

/** Round numbers from `low` to `high`, about `count` of them. */
function ticks(low, high, count) {
  const rough = (high - low) / Math.max(1, count),
    power = 10 ** Math.floor(Math.log10(rough || 1));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const result = [];
  for (let x = Math.ceil(low / step) * step; x <= high + step * 1e-9; x += step)
    result.push(Math.abs(x) < step * 1e-9 ? 0 : x);
  return result;
}

/** Powers of ten between two exponents, and their double and fivefold where there are few. */
function logTicks(low, high) {
  const factors = high - low < 2.5 ? [1, 2, 5] : [1],
    result = [];
  for (let power = Math.floor(low); power <= high; power++)
    for (const factor of factors) result.push(factor * 10 ** power);
  return result.filter((x) => Math.log10(x) >= low && Math.log10(x) <= high);
}

/**
 * `options`:
 *   title, note, controls
 *   series    [{name, xs, ys}], of which those with `points` are drawn as dots too
 *   lines     [{name, y}], horizontal
 *   unit      of y
 *   xIs       what x is (default: step)
 *   cursor    x of the marked place, or null
 *   select(x) called when a place is chosen
 *   height    in pixels
 *   log       whether y is logarithmic
 */
export class LineChart extends Picture {
  constructor(options) {
    super({ ...options, table: () => this.asTable() });
    Object.assign(
      this,
      { series: [], lines: [], unit: "", xIs: "step", cursor: null, select: () => {}, height: 260, log: false },
      options,
    );
    this.svg = draw("svg", {
      "data-stop": "",
      tabindex: "-1",
      role: "application",
      "data-key": `chart:${options.title}`,
      "aria-label": `${options.title}: left and right move the cursor`,
    });
    this.body.append(make("div", { class: "chart" }, this.svg));
    this.svg.addEventListener("pointermove", (event) => this.hover(this.nearest(this.xAt(event))));
    this.svg.addEventListener("pointerleave", () => this.hover(this.cursor));
    this.svg.addEventListener("focus", () => this.hover(this.cursor ?? this.last()));
    this.svg.addEventListener("click", (event) => this.choose(this.nearest(this.xAt(event))));
    this.svg.addEventListener("keydown", (event) => this.key(event));
    redrawn(this.body, () => this.draw());
    this.show({});
  }

  show(options) {
    Object.assign(this, options);
    this.draw();
    this.renewTable();
    if (!this.svg.matches(":hover")) this.hover(this.cursor ?? this.last());
  }

  /** All x at which something is known, sorted. */
  places() {
    return [...new Set(this.series.flatMap(({ xs }) => [...xs]))].sort((a, b) => a - b);
  }

  last() {
    const places = this.places();
    return places.length ? places[places.length - 1] : null;
  }

  nearest(x) {
    const places = this.places();
    return places.length
      ? places.reduce((best, place) => (Math.abs(place - x) < Math.abs(best - x) ? place : best))
      : null;
  }

  xAt(event) {
    const box = this.svg.getBoundingClientRect();
    return (
      this.range[0] +
      ((event.clientX - box.left - LEFT) / (this.width - LEFT - RIGHT)) * (this.range[1] - this.range[0])
    );
  }

  key(event) {
    const places = this.places(),
      at = places.indexOf(this.nearest(this.shown ?? this.cursor ?? 0));
    const next = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: places.length - 1 }[event.key];
    if (event.key === "Enter" && this.shown !== null) this.choose(this.shown);
    else if (next === undefined || !(next in places)) return;
    else this.hover(places[next]);
    event.preventDefault();
  }

  choose(x) {
    if (x === null) return;
    this.hover(x);
    this.select(x);
  }

  hover(x) {
    this.shown = x;
    this.placeCursor();
    if (x === null) return this.say("Nothing yet.");
    const parts = this.series.flatMap(({ name, xs, ys }) => {
      const at = [...xs].indexOf(x);
      return at < 0 ? [] : [`${name} ${number(ys[at])}`];
    });
    return this.say(
      `${this.xIs} ${integer(x)}: ${parts.join(", ") || "no value"}${this.unit ? ` (${this.unit})` : ""}`,
    );
  }

  draw() {
    this.width = this.body.clientWidth;
    if (!this.width || this.body.hidden) return;
    const { width, height } = this;
    const finite = [...this.series.flatMap(({ ys }) => [...ys]), ...this.lines.map(({ y }) => y)].filter(
      (y) => Number.isFinite(y) && (!this.log || y > 0),
    );
    const places = this.places();
    this.range = places.length ? [places[0], Math.max(places[places.length - 1], places[0] + 1)] : [0, 1];
    let low = Math.min(...finite),
      high = Math.max(...finite);
    if (!finite.length) [low, high] = this.log ? [0.1, 1] : [0, 1];
    if (this.log) [low, high] = [Math.log10(low), Math.log10(high)];
    const room = (high - low) * 0.05 || Math.abs(high) * 0.05 || 0.5;
    [low, high] = [low - room, high + room];
    const toX = (this.toX = (x) =>
      LEFT + ((x - this.range[0]) / (this.range[1] - this.range[0])) * (width - LEFT - RIGHT));
    const toY = (y) => TOP + ((high - (this.log ? Math.log10(y) : y)) / (high - low)) * (height - TOP - BOTTOM);
    const text = (x, y, anchor, content) => draw("text", { x, y, "text-anchor": anchor }, content);
    const yTicks = this.log ? logTicks(low, high) : ticks(low, high, Math.max(2, height / 55));
    const parts = [
      ...yTicks.map((y) => [
        draw("path", { class: "grid", d: `M${LEFT} ${toY(y)}H${width - RIGHT}` }),
        text(LEFT - 8, toY(y) + 4, "end", number(y, 3)),
      ]),
      ...ticks(...this.range, Math.max(2, width / 110))
        .filter(Number.isInteger)
        .map((x) => text(toX(x), height - BOTTOM + 16, "middle", integer(x))),
      text(width - RIGHT, height - 3, "end", this.xIs),
      text(4, TOP - 2, "start", this.unit),
    ];
    this.lines.forEach((line, i) =>
      parts.push(draw("path", { class: `series s4 d${1 + (i % 3)}`, d: `M${LEFT} ${toY(line.y)}H${width - RIGHT}` })),
    );
    this.series.forEach((one, i) => {
      parts.push(
        draw("path", { class: `series s${one.style ?? i % 5} d${one.dash ?? 0}`, d: this.path(one, toX, toY) }),
      );
      if (one.points)
        for (let j = 0; j < one.xs.length; j++)
          if (Number.isFinite(one.ys[j]))
            parts.push(
              draw("circle", {
                class: `series s${one.style ?? i % 5}`,
                cx: toX(one.xs[j]),
                cy: toY(one.ys[j]),
                r: 2.5,
              }),
            );
    });
    this.mark = draw("path", { class: "cursor" });
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.setAttribute("height", height);
    this.svg.replaceChildren(...parts.flat(), this.mark);
    this.legend.replaceChildren(...this.keys());
    this.placeCursor();
  }

  path({ xs, ys }, toX, toY) {
    let pen = "M",
      d = "";
    for (let i = 0; i < xs.length; i++) {
      const isDrawn = Number.isFinite(ys[i]) && (!this.log || ys[i] > 0);
      if (isDrawn) d += `${pen}${toX(xs[i]).toFixed(1)} ${toY(ys[i]).toFixed(1)}`;
      pen = isDrawn ? "L" : "M";
    }
    return d;
  }

  placeCursor() {
    const x = this.shown ?? this.cursor;
    if (this.mark && x !== null && x !== undefined && this.toX)
      this.mark.setAttribute("d", `M${this.toX(x)} ${TOP}V${this.height - BOTTOM}`);
  }

  keys() {
    const key = (style, name) =>
      make(
        "span",
        { class: "key" },
        draw(
          "svg",
          { viewBox: "0 0 26 10", "aria-hidden": "true" },
          draw("path", { class: `series ${style}`, d: "M0 5H26" }),
        ),
        name,
      );
    return [
      ...this.series.map((one, i) => key(`s${one.style ?? i % 5} d${one.dash ?? 0}`, one.name)),
      ...this.lines.map((line, i) => key(`s4 d${1 + (i % 3)}`, `${line.name} = ${number(line.y)}`)),
    ];
  }

  asTable() {
    const places = this.places(),
      every = Math.ceil(places.length / MAX_ROWS);
    const at = this.series.map(({ xs, ys }) => new Map([...xs].map((x, i) => [x, ys[i]])));
    return {
      columns: [this.xIs, ...this.series.map(({ name }) => name)],
      rows: places
        .filter((_, i) => i % every === 0)
        .map((x) => [integer(x), ...at.map((one) => (one.has(x) ? number(one.get(x)) : "–"))]),
    };
  }
}
