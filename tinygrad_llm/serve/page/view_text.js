// A text that the model continues, for models without a form of a conversation, and to see what others make of a text.

import { make, show } from "./elements.js";
import { Generation, runningIn } from "./generation.js";
import { numbersLine } from "./numbers.js";
import { problemBox } from "./problems.js";
import { requestFields } from "./settings.js";
import { TokenPanel, TokenView } from "./token_view.js";
import { textOf } from "./tokens.js";

const DEFAULT_LENGTH = 100; // tokens, where the settings say nothing: a base model seldom ends by itself

export class TextView {
  /** `page`: model, kept(conversation), say(text), askKey(then). */
  constructor(conversation, page) {
    Object.assign(this, { conversation, page, last: null });
    this.area = make("textarea", {
      class: "paper",
      rows: 12,
      "data-key": "text",
      "aria-label": "Text that the model continues",
      placeholder: "Write the beginning of a text",
      oninput: () => this.edited(),
      onkeydown: (event) => {
        if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
        event.preventDefault();
        this.press();
      },
    });
    this.area.value = conversation.text;
    this.button = make("button", { type: "button", class: "primary", "data-key": "send", onclick: () => this.press() });
    this.undoButton = make("button", { type: "button", "data-key": "undo", onclick: () => this.undo() }, "Undo");
    this.againButton = make("button", { type: "button", "data-key": "again", onclick: () => this.again() }, "Again");
    this.status = make("p", { class: "status faint number" });
    this.problem = make("div", {});
    this.panel = new TokenPanel(() => this.panel.hide());
    this.tokens = new TokenView((tokens, i) => this.panel.show(tokens, i, (item) => this.takeOther(i, item)));
    this.written = make(
      "div",
      { class: "stack", hidden: true },
      make("h3", {}, "What the model wrote"),
      this.tokens.element,
      this.panel.element,
    );
    this.element = make(
      "section",
      { class: "chat stack" },
      this.area,
      make("div", { class: "row" }, this.button, this.againButton, this.undoButton),
      this.status,
      this.problem,
      this.written,
    );
    this.draw();
  }

  focus() {
    this.area.focus();
  }

  get running() {
    return runningIn(this.conversation);
  }

  stop() {
    this.running?.stop();
  }

  press() {
    if (this.running) this.stop();
    else if (this.area.value) this.continueFrom(this.area.value);
    else this.area.focus();
  }

  edited() {
    this.conversation.text = this.area.value;
    this.conversation.changed = Date.now();
    clearTimeout(this.keeping);
    this.keeping = setTimeout(() => this.page.kept(this.conversation), 500);
    this.draw();
  }

  /** Continue `prompt`, of which the model does not read the first `leftOut` characters. */
  continueFrom(prompt, leftOut = 0) {
    const { conversation, page } = this;
    const node = { role: "assistant", content: "", end: "", numbers: {}, prompt, leftOut };
    const { max_tokens = DEFAULT_LENGTH, ...fields } = requestFields("text");
    const body = { model: page.model.id, prompt: prompt.slice(leftOut), max_tokens, ...fields };
    this.last = node;
    this.put(prompt);
    this.panel.hide();
    this.tokens.clear();
    new Generation(conversation, node, "v1/completions", body, () => this.changed(node)).run();
    this.draw(); // now: from here on the buttons are those of a running answer
    page.say("The model continues the text.");
  }

  undo() {
    this.put(this.last.prompt);
    this.last = null;
    this.panel.hide();
    this.draw();
  }

  again() {
    this.continueFrom(this.last.prompt, this.last.leftOut);
  }

  /** Go on with another token in place of the one at `i`. */
  takeOther(i, { text }) {
    if (this.running) return;
    const before = this.last.tokens.slice(0, i).map(textOf).join("");
    this.continueFrom(this.last.prompt + before + text);
  }

  /** Leave out the first half of what the model read. */
  trim() {
    const { prompt, leftOut } = this.last;
    let from = leftOut + Math.ceil((prompt.length - leftOut) / 2);
    if (/[\udc00-\udfff]/.test(prompt[from])) from++; // the second half of a character
    this.continueFrom(prompt, from);
  }

  put(text) {
    this.area.value = text;
    this.conversation.text = text;
    this.conversation.changed = Date.now();
    this.page.kept(this.conversation);
  }

  changed(node) {
    if (node !== this.last) return;
    if (node.end) {
      this.put(node.prompt + node.content);
      if (!this.running && this.element.isConnected && node.end !== "error")
        this.page.say(node.content.slice(0, 2_000));
    }
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      if (!node.end) this.area.value = node.prompt + node.content;
      this.area.scrollTop = this.area.scrollHeight;
      this.draw();
    });
  }

  draw() {
    const { last, running } = this,
      { model } = this.page;
    const isRunning = running !== null;
    this.area.readOnly = isRunning;
    this.button.textContent = isRunning ? "Stop" : "Continue";
    this.button.title = isRunning ? "Escape" : "Ctrl+Enter";
    this.button.disabled = !isRunning && !this.area.value;
    this.undoButton.disabled = this.againButton.disabled = isRunning || !last;
    this.written.hidden = !last?.tokens?.length;
    if (last?.tokens) this.tokens.show(last.tokens);
    this.status.textContent = last ? numbersLine(last, isRunning) : "Ctrl+Enter continues the text, Escape stops.";
    const acts = {
      retry: () => this.again(),
      trim: () => this.trim(),
      key: () => this.page.askKey(() => this.again()),
    };
    show(this.problem, last && !isRunning ? problemBox(last, model, acts) : null);
  }

  scrolled() {}
}
