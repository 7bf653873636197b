// A matrix of numbers as colours, with labels along both axes, a legend, a readout and a table.

import { Scale } from "./colours.js";
import { make } from "./elements.js";
import { number } from "./format.js";
import { legendBar } from "./legend.js";
import { Picture, redrawn } from "./picture.js";
import { isDark } from "./scheme.js";

const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
const SMALLEST_MARK = 7; // pixels
const MIN_CELL = 7,
  MAX_HEIGHT = 560; // pixels; many rows get smaller cells, but not too small
const MAX_CELL = 34; // pixels; a small matrix does not fill the whole width
const LONGEST = 12,
  LONGEST_ROW = 16; // letters of a label
const LABEL = 11; // pixels between two labels, at least

/**
 * `options`:
 *   title, note, controls     as in Picture
 *   rows, columns             labels of the rows and of the columns
 *   rowsAre, columnsAre       what they are, such as "query tokens"
 *   value(row, column)        a number; null where there is none (masked), undefined where it is not known
 *   scale                     a Scale; by default that of all values
 *   say(row, column)          the readout of a cell
 *   select(row, column)       called when a cell is chosen
 *   chosen                    [row, column]
 *   empty                     what an empty cell means, for the legend
 *   square, maxCell           whether cells are squares (default: true), and their largest size in pixels
 */
export class HeatMap extends Picture {
  constructor(options) {
    super({ ...options, table: () => this.asTable() });
    Object.assign(
      this,
      { square: true, maxCell: MAX_CELL, empty: "no value", select: () => {}, chosen: [0, 0] },
      options,
    );
    this.canvas = make("canvas", {
      "data-stop": "",
      tabindex: "-1",
      role: "application",
      "data-key": `map:${options.title}`,
      "aria-label": `${options.title}: arrow keys move between cells`,
    });
    this.top = make("div", { class: "axis top-labels", "aria-hidden": "true" });
    this.left = make("div", { class: "axis left-labels", "aria-hidden": "true" });
    this.names = make("p", { class: "axis-names" });
    this.body.append(this.names, (this.map = make("div", { class: "map" }, this.top, this.left, this.canvas)));
    this.listen();
    this.show({});
    redrawn(this.body, () => this.draw());
  }

  /** Take over new options, and draw. */
  show(options) {
    Object.assign(this, options);
    if (!this.scale || options.rescale) this.scale = Scale.of(this.all());
    this.chosen = [Math.min(this.chosen[0], this.rows.length - 1), Math.min(this.chosen[1], this.columns.length - 1)];
    this.names.textContent = `Rows: ${this.rowsAre}. Columns: ${this.columnsAre}.`;
    this.draw();
    this.renewTable();
    this.sayCell(...this.chosen);
  }

  *all() {
    for (let row = 0; row < this.rows.length; row++)
      for (let column = 0; column < this.columns.length; column++) yield this.value(row, column);
  }

  listen() {
    const { canvas } = this;
    canvas.addEventListener("pointermove", (event) => this.sayCell(...this.cellAt(event)));
    canvas.addEventListener("pointerleave", () => this.sayCell(...this.chosen));
    canvas.addEventListener("focus", () => this.sayCell(...this.chosen));
    canvas.addEventListener("click", (event) => this.choose(...this.cellAt(event)));
    canvas.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      let [row, column] = this.chosen;
      if (event.key in MOVES) {
        row += MOVES[event.key][0];
        column += MOVES[event.key][1];
        if (row < 0 || column < 0 || row >= this.rows.length || column >= this.columns.length) return; // on to the next control
      } else if (event.key === "Home") column = 0;
      else if (event.key === "End") column = this.columns.length - 1;
      else if (event.key !== "Enter") return;
      event.preventDefault();
      this.choose(row, column);
    });
  }

  cellAt(event) {
    const box = this.canvas.getBoundingClientRect();
    const at = (offset, size, count) => Math.max(0, Math.min(count - 1, Math.floor((offset / size) * count)));
    return [
      at(event.clientY - box.top, box.height, this.rows.length),
      at(event.clientX - box.left, box.width, this.columns.length),
    ];
  }

  choose(row, column) {
    this.chosen = [row, column];
    this.draw();
    this.sayCell(row, column);
    this.select(row, column);
  }

  sayCell(row, column) {
    if (!this.rows.length || !this.columns.length) return this.say("");
    const x = this.value(row, column);
    return this.say(
      this.describe?.(row, column) ??
        `${this.rows[row]}, ${this.columns[column]}: ${x === null ? this.empty : number(x)}`,
    );
  }

  draw() {
    const width = this.body.clientWidth;
    const rows = this.rows.length,
      columns = this.columns.length;
    if (!width || !rows || !columns || this.body.hidden) return;
    const longest = (labels, most = LONGEST) => Math.min(most, Math.max(...labels.map((label) => label.length)));
    const margin = longest(this.rows, LONGEST_ROW) * 7.2 + 4;
    const room = Math.max(40, Math.min(width, 704) - margin - 6);
    const cell = Math.max(
      1,
      Math.min(this.maxCell, room / columns, this.square ? Math.max(MIN_CELL, MAX_HEIGHT / rows) : this.maxCell),
    );
    const high = this.square ? cell : Math.max(8, Math.min(26, 340 / rows));
    const size = [cell * columns, high * rows];
    this.canvas.style.width = `${size[0]}px`;
    this.canvas.style.height = `${size[1]}px`;
    this.left.style.width = `${margin}px`;
    this.left.style.height = `${size[1]}px`;
    const isFlat = longest(this.columns) * 7.4 < Math.max(cell, LABEL);
    this.top.classList.toggle("flat", isFlat);
    this.top.style.height = `${isFlat ? 16 : longest(this.columns) * 6.2 + 14}px`;
    this.label(this.top, this.columns, cell, "left", this.chosen[1], LONGEST);
    this.label(this.left, this.rows, high, "top", this.chosen[0], LONGEST_ROW);
    this.paint(size, cell, high);
    this.drawLegend();
  }

  label(axis, labels, step, side, chosen, longest) {
    const every = Math.ceil(LABEL / step);
    axis.replaceChildren(
      ...labels.flatMap((label, i) => {
        if (i % every && i !== chosen) return [];
        if (i !== chosen && Math.abs(i - chosen) < every && every > 1) return [];
        const mark = make(
          "span",
          i === chosen ? { class: "chosen" } : {},
          label.length > longest ? `${label.slice(0, longest - 1)}…` : label,
        );
        mark.style[side] = `${(i + 0.5) * step}px`;
        return [mark];
      }),
    );
  }

  paint([width, height], cell, high) {
    const ratio = devicePixelRatio || 1,
      { canvas } = this;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const gap = Math.min(cell, high) > 9 ? 1 : 0;
    for (let row = 0; row < this.rows.length; row++) {
      for (let column = 0; column < this.columns.length; column++) {
        const x = this.value(row, column);
        if (x === null || x === undefined) continue; // the colour of empty cells is the canvas's own
        pen.fillStyle = Number.isFinite(x) ? `rgb(${this.scale.colour(x).map(Math.round).join(" ")})` : "#ff00ff";
        pen.fillRect(column * cell, row * high, Math.ceil(cell) - gap, Math.ceil(high) - gap);
      }
    }
    pen.strokeStyle = isDark() ? "#ffc54d" : "#e08a00"; // --mark
    pen.lineWidth = Math.max(1.5, Math.min(3, cell / 6));
    const room = (size) => Math.max(SMALLEST_MARK, size - pen.lineWidth); // a mark around a tiny cell is larger than the cell
    pen.strokeRect(
      (this.chosen[1] + 0.5) * cell - room(cell) / 2 - 0.5,
      (this.chosen[0] + 0.5) * high - room(high) / 2 - 0.5,
      room(cell),
      room(high),
    );
  }

  drawLegend() {
    this.legend.replaceChildren(
      legendBar(this.scale),
      ...([...this.all()].some((x) => x === null || x === undefined)
        ? [make("span", { class: "key" }, make("i"), this.empty)]
        : []),
    );
  }

  asTable() {
    const cell = (row, column) => {
      const x = this.value(row, column);
      return x === null || x === undefined ? "–" : number(x);
    };
    return {
      columns: ["", ...this.columns],
      rows: this.rows.map((label, row) => [label, ...this.columns.map((_, column) => cell(row, column))]),
    };
  }
}
