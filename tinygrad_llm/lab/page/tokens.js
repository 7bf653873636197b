// The tokens of a text as a row of buttons: text, id, bytes and loss, with the loss as the colour of the lower edge.

import { Scale } from "./colours.js";
import { make } from "./elements.js";
import { named, number, percent, visible } from "./format.js";
import { legendBar } from "./legend.js";
import { Picture, redrawn } from "./picture.js";

/** `options`: title, note, controls; tokens [{id, text, bytes}], losses of the tokens after the first, chosen, select(i). */
export class Tokens extends Picture {
  constructor(options) {
    super({ ...options, table: () => this.asTable() });
    Object.assign(this, { chosen: 0, losses: [], select: () => {} }, options);
    this.body.append((this.list = make("div", { class: "tokens" })));
    redrawn(this.body, () => this.show({}));
    this.show({});
  }

  show(options) {
    Object.assign(this, options);
    const scale = (this.scale = Scale.of(this.losses, { fromZero: true, unit: "nats" }));
    const focused = this.list.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    this.list.replaceChildren(...this.tokens.map((token, i) => this.button(token, i, scale)));
    if (focused) this.list.querySelector(`[data-key="${focused}"]`)?.focus({ preventScroll: true });
    this.legend.replaceChildren(...(this.losses.length ? [make("span", {}, "loss of a token"), legendBar(scale)] : []));
    this.renewTable();
    this.say(this.tokens.length ? this.describe(Math.min(this.chosen, this.tokens.length - 1)) : "No tokens.");
  }

  loss(i) {
    return i > 0 && i - 1 < this.losses.length ? this.losses[i - 1] : null;
  }

  button(token, i, scale) {
    const loss = this.loss(i),
      bytes = token.bytes.length > 20 ? `${token.bytes.slice(0, 17)} …` : token.bytes;
    const button = make(
      "button",
      {
        type: "button",
        class: `token${loss === null ? " plain" : ""}`,
        "aria-pressed": String(i === this.chosen),
        "data-key": `token:${i}`,
        onclick: () => this.select(i),
        onfocus: () => this.say(this.describe(i)),
        onpointerenter: () => this.say(this.describe(i)),
        onpointerleave: () => this.say(this.describe(this.chosen)),
      },
      make("b", {}, visible(token.text)),
      make("small", {}, String(token.id)),
      make("small", {}, bytes),
      make("small", {}, loss === null ? "given" : number(loss, 3)),
    );
    if (loss !== null) button.style.borderBottomColor = `rgb(${scale.colour(loss).map(Math.round).join(" ")})`;
    return button;
  }

  describe(i) {
    const token = this.tokens[i],
      loss = this.loss(i);
    const said = `${named(token.text, i)}: id ${token.id}, bytes ${token.bytes || "none"}`;
    return loss === null
      ? `${said}; given, not predicted, so it has no loss`
      : `${said}; loss −ln p = ${number(loss)} nats, p = ${percent(Math.exp(-loss))}`;
  }

  asTable() {
    return {
      columns: ["token", "text", "id", "bytes", "loss (nats)", "probability"],
      rows: this.tokens.map((token, i) => {
        const loss = this.loss(i);
        return [
          String(i),
          visible(token.text),
          String(token.id),
          token.bytes,
          loss === null ? "–" : number(loss),
          loss === null ? "–" : percent(Math.exp(-loss)),
        ];
      }),
    };
  }
}
