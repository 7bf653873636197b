// Probabilities as bars, each a button.

import { draw, make } from "./elements.js";
import { percent, visible } from "./format.js";
import { Picture } from "./picture.js";

/**
 * `options`: title, note, controls; items [{key, text, probability, before, cut, label}]; choose(item), describe(item).
 * `before` is the probability before cutting, drawn pale behind; without `choose` the bars are no buttons to press.
 */
export class Bars extends Picture {
  constructor(options) {
    super({ ...options, table: () => this.asTable() });
    Object.assign(
      this,
      { items: [], describe: (item) => `“${visible(item.text)}”: ${percent(item.probability)}` },
      options,
    );
    this.body.append((this.list = make("div", { class: "bars" })));
    this.show({});
  }

  show(options) {
    Object.assign(this, options);
    const largest = Math.max(1e-9, ...this.items.map((item) => Math.max(item.probability, item.before ?? 0)));
    const focused = this.list.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    this.list.replaceChildren(...this.items.map((item) => this.bar(item, largest)));
    if (focused) this.list.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    this.renewTable();
    this.say(this.items.length ? this.describe(this.items[0]) : "No tokens.");
  }

  bar(item, largest) {
    const width = (p) => (100 * p) / largest;
    return make(
      "button",
      {
        type: "button",
        class: "bar",
        "data-key": `bar:${item.key}`,
        "data-cut": item.cut ? "" : undefined,
        onclick: () => this.choose?.(item),
        onfocus: () => this.say(this.describe(item)),
        onpointerenter: () => this.say(this.describe(item)),
      },
      make("code", {}, item.label ?? visible(item.text)),
      draw(
        "svg",
        { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" },
        draw("rect", { class: "cut", x: 0, y: 0, width: width(item.before ?? 0), height: 10 }),
        draw("rect", { class: "full", x: 0, y: 2, width: width(item.probability), height: 6 }),
      ),
      make("span", {}, item.cut ? "cut" : percent(item.probability)),
    );
  }

  asTable() {
    const isCut = this.items.some((item) => item.before !== undefined);
    return {
      columns: ["token", "probability", ...(isCut ? ["before"] : [])],
      rows: this.items.map((item) => [
        item.label ?? visible(item.text),
        percent(item.probability),
        ...(isCut ? [percent(item.before ?? item.probability)] : []),
      ]),
    };
  }
}
