// The frame of every picture: title, picture with legend, a readout of what is under the pointer or the focus, and a
// table in the picture's place on request.

import { make } from "./elements.js";
import { onScheme } from "./scheme.js";

export class Picture {
  /** `options`: title, note, table (returns {columns, rows}), and `controls`, elements beside the title. */
  constructor({ title, note, table, controls = [] }) {
    this.table = table;
    this.readout = make("p", { class: "readout", role: "status" });
    this.legend = make("div", { class: "legend" });
    this.body = make("div", {});
    this.inPlace = make("div", {
      class: "scroll",
      tabindex: "-1",
      "data-stop": "",
      role: "region",
      "aria-label": `${title}: table`,
      hidden: true,
    });
    this.tableButton = make(
      "button",
      {
        type: "button",
        class: "quiet",
        "aria-pressed": "false",
        "data-key": `table:${title}`,
        onclick: () => this.toggleTable(),
      },
      "Table",
    );
    this.element = make(
      "figure",
      { class: "figure", "data-part": "", "aria-label": title },
      make(
        "figcaption",
        { class: "figure-head" },
        make("h3", {}, title),
        make("span", { class: "row" }, controls, this.tableButton),
        note ? make("p", { class: "note" }, note) : null,
      ),
      this.body,
      this.inPlace,
      this.legend,
      this.readout,
    );
    this.element.addEventListener("keydown", (event) => {
      if (event.key !== "t" || event.ctrlKey || event.metaKey || event.target.matches("input[type=text], textarea"))
        return;
      event.preventDefault();
      this.toggleTable();
      (this.inPlace.hidden ? this.tableButton : this.inPlace).focus();
    });
  }

  /** Show the table in place of the picture, or the picture again. */
  toggleTable() {
    this.inPlace.hidden = !this.inPlace.hidden;
    this.body.hidden = this.legend.hidden = !this.inPlace.hidden;
    this.tableButton.setAttribute("aria-pressed", String(!this.inPlace.hidden));
    this.renewTable();
    if (this.inPlace.hidden) this.redraw?.();
  }

  renewTable() {
    if (this.inPlace.hidden) return;
    const { columns, rows } = this.table();
    this.inPlace.replaceChildren(table(columns, rows));
  }

  say(text) {
    if (this.readout.textContent !== text) this.readout.textContent = text;
  }
}

/** A table; the first cell of each row is its heading. */
export function table(columns, rows) {
  return make(
    "table",
    {},
    make(
      "thead",
      {},
      make(
        "tr",
        {},
        columns.map((name) => make("th", { scope: "col" }, name)),
      ),
    ),
    make(
      "tbody",
      {},
      rows.map(([first, ...rest]) =>
        make(
          "tr",
          {},
          make("th", { scope: "row" }, first),
          rest.map((cell) => make("td", {}, cell)),
        ),
      ),
    ),
  );
}

/** Call `draw` when the element changes its width, and when light and dark change; off the page, when it is back. */
export function redrawn(element, draw) {
  let width = 0;
  new ResizeObserver(() => {
    if (element.clientWidth !== width && element.clientWidth) {
      width = element.clientWidth;
      draw();
    }
  }).observe(element);
  onScheme(element, () => (element.isConnected ? draw() : (width = 0)));
}
