// One message of a conversation: its text or its tokens, what can be done with it, and the numbers of an answer.

import { copyButton } from "./clipboard.js";
import { make, show } from "./elements.js";
import { numbersLine } from "./numbers.js";
import { TextBlocks } from "./text_blocks.js";
import { TokenView } from "./token_view.js";

export class MessageView {
  /** `acts`: edit(node, text), again(node), choose(node), token(tokens, i), hideToken(); versions(node), running(). */
  constructor(node, acts) {
    Object.assign(this, { node, acts, byToken: false });
    this.blocks = new TextBlocks();
    this.body = make("div", {}, this.blocks.element);
    this.foot = make("div", { class: "row foot" });
    this.problem = make("div", {});
    const isUser = node.role === "user";
    this.element = make(
      "article",
      { class: `message ${node.role}` },
      make("h2", { class: "unseen" }, isUser ? "You" : "Model"),
      this.body,
      this.problem,
      this.foot,
    );
    this.update();
  }

  /** Show the node as it is now. */
  update() {
    const { node } = this;
    if (this.tokens) this.tokens.show(node.tokens);
    else this.blocks.show(node.content);
    const isRunning = this.isRunning();
    this.element.setAttribute("aria-busy", String(isRunning));
    this.blocks.element.classList.toggle("waiting", isRunning && node.content === "");
    const state = [this.acts.running() !== null, isRunning, node.end, this.byToken, Boolean(node.tokens?.length)];
    const shown = `${state} ${this.acts.versions(node).length}`;
    if (shown !== this.shown) {
      this.shown = shown;
      this.showFoot();
    }
    const numbers = this.foot.querySelector("[data-numbers]");
    if (numbers) numbers.textContent = numbersLine(node, isRunning);
  }

  isRunning() {
    return this.acts.running() === this.node;
  }

  showFoot() {
    const { node, acts } = this,
      isRunning = this.isRunning(),
      isLocked = acts.running() !== null;
    const button = (key, name, act, attributes = {}) =>
      make("button", { type: "button", class: "quiet", "data-key": key, onclick: act, ...attributes }, name);
    const answer = [
      node.content !== "" && button("again", "Answer again", () => acts.again(node), { disabled: isLocked }),
      node.tokens?.length > 0 &&
        button("byToken", "Probabilities", () => this.toggleTokens(), { "aria-pressed": String(this.byToken) }),
    ];
    show(
      this.foot,
      this.versionButtons(button),
      node.role === "user"
        ? button("edit", "Edit", () => this.edit(), { disabled: isLocked })
        : isRunning
          ? null
          : answer,
      isRunning || node.content === "" ? null : copyButton(() => node.content),
      node.role === "assistant" ? make("span", { class: "faint number", "data-numbers": "" }) : null,
    );
  }

  versionButtons(button) {
    const versions = this.acts.versions(this.node),
      at = versions.indexOf(this.node);
    if (versions.length < 2) return null;
    const go = (by) => this.acts.choose(versions[at + by]);
    const isLocked = this.acts.running() !== null;
    return make(
      "span",
      { class: "versions", role: "group", "aria-label": "Versions" },
      button("older", "‹", () => go(-1), { disabled: isLocked || at === 0, "aria-label": "Version before" }),
      make("span", { class: "number" }, `${at + 1} / ${versions.length}`),
      button("newer", "›", () => go(1), {
        disabled: isLocked || at === versions.length - 1,
        "aria-label": "Version after",
      }),
    );
  }

  /** Show the answer token by token, or as text again. */
  toggleTokens() {
    this.byToken = !this.byToken;
    this.tokens = this.byToken ? new TokenView(this.acts.token) : null;
    this.body.replaceChildren((this.tokens ?? this.blocks).element);
    if (!this.byToken) this.acts.hideToken();
    this.update();
  }

  /** Write the message anew. Escape goes back. */
  edit() {
    const area = make("textarea", {
      rows: Math.min(12, this.node.content.split("\n").length + 1),
      "aria-label": "The message, to be changed",
      "data-key": "editing",
      onkeydown: (event) => {
        if (event.key === "Escape") {
          event.preventDefault();
          event.stopPropagation();
          done();
        }
        if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
          event.preventDefault();
          send();
        }
      },
    });
    const done = () => {
      this.body.replaceChildren(this.blocks.element);
      this.foot.hidden = false;
      this.foot.querySelector("[data-key=edit]")?.focus();
    };
    const send = () => {
      if (!area.value.trim()) return area.focus();
      done();
      return this.acts.edit(this.node, area.value);
    };
    area.value = this.node.content;
    this.foot.hidden = true;
    this.body.replaceChildren(
      area,
      make(
        "div",
        { class: "row" },
        make("button", { type: "button", class: "primary", "data-key": "sendEdited", onclick: send }, "Send"),
        make("button", { type: "button", "data-key": "cancelEdit", onclick: done }, "Cancel"),
      ),
    );
    area.focus();
  }

  /** A problem under the message, or null for none. */
  showProblem(box) {
    show(this.problem, box);
  }
}
