// An answer token by token. The lower edge of a token shows its loss; the pointer or the arrow keys choose one, and a
// panel shows its probability beside those of the alternatives.

import { Bars } from "./bars.js";
import { Scale } from "./colours.js";
import { make } from "./elements.js";
import { number, percent, visible } from "./format.js";
import { legendBar } from "./legend.js";
import { onScheme } from "./scheme.js";
import { textOf, textsInOrder } from "./tokens.js";

const SCALE = new Scale({ low: 0, high: 8, unit: "nats" });
const MOVES = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

export class TokenView {
  /** `chosen(tokens, i)` is called when a token is looked at. */
  constructor(chosen) {
    this.chosen = chosen;
    this.tokens = [];
    this.at = -1;
    const look = (event) => {
      const span = event.target.closest("[data-token]");
      if (span) this.look(Number(span.dataset.token));
    };
    this.list = make("div", {
      class: "by-token",
      tabindex: "0",
      role: "group",
      "aria-label": "The answer token by token: the arrow keys move from one to the next",
      onpointerover: look,
      onclick: look,
      onfocus: () => this.at < 0 && this.look(0),
      onkeydown: (event) => this.move(event),
    });
    const legend = make("div", { class: "legend" });
    const drawLegend = () =>
      legend.replaceChildren(make("span", {}, "lower edge: loss of a token, −ln p"), legendBar(SCALE));
    drawLegend();
    this.element = make("div", { class: "text" }, legend, this.list);
    onScheme(this.element, () => {
      drawLegend();
      [...this.list.children].forEach((span, i) => this.colour(span, i));
    });
  }

  show(tokens) {
    const texts = textsInOrder(tokens); // of all: a character may begin in a token that is shown already
    const shown = this.list.children.length;
    this.tokens = tokens;
    for (let i = shown; i < tokens.length; i++) {
      const text = texts[i].replace(/\n/g, "↵\n");
      const span = make("span", { "data-token": i, class: text ? null : "part" }, text || "·");
      this.colour(span, i);
      this.list.append(span);
    }
  }

  clear() {
    this.list.replaceChildren();
    Object.assign(this, { tokens: [], at: -1 });
  }

  colour(span, i) {
    span.style.borderBottomColor = `rgb(${SCALE.colour(-this.tokens[i].logprob).map(Math.round).join(" ")})`;
  }

  look(i) {
    if (!this.tokens[i]) return;
    this.list.children[this.at]?.classList.remove("chosen");
    this.list.children[(this.at = i)].classList.add("chosen");
    this.chosen(this.tokens, i);
  }

  move(event) {
    if (!(event.key in MOVES) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    this.look(Math.max(0, Math.min(this.tokens.length - 1, this.at + MOVES[event.key])));
    this.list.children[this.at]?.scrollIntoView({ block: "nearest" });
  }
}

/** The panel about one token. `choose(item)`, if given, is what pressing an alternative does. */
export class TokenPanel {
  constructor(close) {
    this.bars = new Bars({ title: "A token", describe: (item) => this.describe(item), controls: [closeButton(close)] });
    this.element = make("div", { class: "panel token-panel", hidden: true }, this.bars.element);
  }

  show(tokens, i, choose) {
    const token = tokens[i],
      written = textOf(token);
    const items = token.top.map(({ bytes, logprob }) => ({ text: textOf({ bytes }), probability: Math.exp(logprob) }));
    if (!items.some(({ text }) => text === written))
      items.push({ text: written, probability: Math.exp(token.logprob) });
    this.bars.choose = choose;
    this.element.hidden = false;
    this.bars.element.querySelector("h3").textContent = `Token ${i + 1}: “${visible(written)}”`;
    this.bars.show({
      items: items.map((item, key) => ({
        ...item,
        key,
        label: `${visible(item.text)}${item.text === written ? " ◂" : ""}`,
        isWritten: item.text === written,
      })),
    });
    this.bars.say(this.describe({ text: written, probability: Math.exp(token.logprob), isWritten: true }));
  }

  describe({ text, probability, isWritten }) {
    const said = `“${visible(text)}”: p = ${percent(probability)}, −ln p = ${number(-Math.log(probability), 3)} nats`;
    return isWritten
      ? `${said}; the token of the answer`
      : `${said}${this.bars.choose ? "; Enter continues with it" : ""}`;
  }

  hide() {
    this.element.hidden = true;
  }
}

const closeButton = (close) =>
  make("button", { type: "button", class: "quiet", "data-key": "closeToken", onclick: close }, "Close");
