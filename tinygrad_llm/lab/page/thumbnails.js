// All layers × heads as small maps on one scale. One is large elsewhere; each can be switched off.

import { make } from "./elements.js";
import { Picture, redrawn } from "./picture.js";
import { legendBar } from "./legend.js";

const MOVES = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

/**
 * `options`:
 *   title, note, controls
 *   counts                     heads of each layer
 *   tokens                     rows of each map
 *   value(layer, head, cell)   a number for a cell of the lower triangle, or undefined
 *   scale                      of all of them
 *   describe(layer, head)      the readout
 *   columns, cells(layer, head)  headings and cells of the table
 *   chosen                     [layer, head]
 *   isOff(layer, head)
 *   select(layer, head), toggle(layer, head)
 */
export class Thumbnails extends Picture {
  constructor(options) {
    super({ ...options, table: () => this.asTable() });
    Object.assign(this, { chosen: [0, 0], isOff: () => false }, options);
    this.grid = make("div", { class: "thumbnails", role: "group", "aria-label": options.title });
    this.body.append(this.grid);
    this.grid.addEventListener("keydown", (event) => this.key(event));
    redrawn(this.body, () => this.lay());
    this.show({});
  }

  show(options) {
    Object.assign(this, options);
    if (this.grid.childElementCount !== 1 + this.width() + this.counts.reduce((sum, count) => sum + 1 + count, 0))
      this.build();
    this.paint();
    this.mark();
    this.renewTable();
    this.say(this.describe(...this.chosen));
  }

  width() {
    return Math.max(0, ...this.counts);
  }

  build() {
    this.buttons = this.counts.map((count, layer) =>
      Array.from({ length: count }, (_, head) => this.button(layer, head)),
    );
    const headings = Array.from({ length: this.width() }, (_, head) =>
      make("span", { class: "name column" }, String(head)),
    );
    const rows = this.buttons.map((row, layer) => [make("span", { class: "name" }, `layer ${layer}`), row]);
    this.grid.replaceChildren(make("span", { class: "name" }, "head"), ...headings, ...rows.flat(2));
    this.buttons.forEach((row, layer) =>
      row.forEach((button, head) => {
        button.style.gridRow = layer + 2;
        button.style.gridColumn = head + 2;
      }),
    );
    this.grid.querySelectorAll(".name:not(.column)").forEach((name, row) => {
      name.style.gridRow = row + 1;
      name.style.gridColumn = 1;
    });
    this.lay();
  }

  button(layer, head) {
    return make(
      "button",
      {
        type: "button",
        "data-key": `head:${layer}.${head}`,
        onclick: () => this.select(layer, head),
        onpointerenter: () => this.say(this.describe(layer, head)),
        onpointerleave: () => this.say(this.describe(...this.chosen)),
        onfocus: () => this.say(this.describe(layer, head)),
      },
      make("canvas", { "aria-hidden": "true" }),
    );
  }

  lay() {
    const size = Math.max(18, Math.min(84, (this.body.clientWidth - 64) / Math.max(1, this.width()) - 6));
    this.grid.style.gridTemplateColumns = `max-content repeat(${this.width()}, ${size}px)`;
    if (this.scale) this.paint();
  }

  paint() {
    const side = this.tokens;
    this.buttons.forEach((row, layer) =>
      row.forEach((button, head) => {
        const canvas = button.firstChild;
        canvas.width = canvas.height = side;
        const pen = canvas.getContext("2d"),
          image = pen.createImageData(side, side);
        for (let query = 0, cell = 0; query < side; query++) {
          for (let key = 0; key <= query; key++, cell++) {
            const x = this.value(layer, head, cell);
            if (x === undefined || x === null) continue;
            const [red, green, blue] = this.scale.colour(x);
            image.data.set([red, green, blue, 255], 4 * (query * side + key));
          }
        }
        pen.putImageData(image, 0, 0);
      }),
    );
    this.legend.replaceChildren(legendBar(this.scale));
  }

  mark() {
    this.buttons.forEach((row, layer) =>
      row.forEach((button, head) => {
        const isChosen = layer === this.chosen[0] && head === this.chosen[1],
          isOff = this.isOff(layer, head);
        button.setAttribute("aria-pressed", String(isChosen));
        button.setAttribute("aria-label", `Layer ${layer}, head ${head}${isOff ? ", switched off" : ""}`);
        button.classList.toggle("off", isOff);
      }),
    );
  }

  key(event) {
    const here = this.buttons.flat().indexOf(event.target);
    if (here < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const layer = this.buttons.findIndex((row) => row.includes(event.target)),
      head = this.buttons[layer].indexOf(event.target);
    if (event.key === "x" && this.toggle) this.toggle(layer, head);
    else {
      const [down, right] = MOVES[event.key] ?? [];
      const next = down === undefined ? null : this.buttons[layer + down]?.[head + right];
      if (!next) return; // on to the next control
      next.focus();
      this.select(layer + down, head + right);
    }
    event.preventDefault();
  }

  asTable() {
    return {
      columns: ["head", ...this.columns],
      rows: this.counts.flatMap((count, layer) =>
        Array.from({ length: count }, (_, head) => [`layer ${layer}, head ${head}`, ...this.cells(layer, head)]),
      ),
    };
  }
}
