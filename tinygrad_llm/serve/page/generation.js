// One answer: the request, its pieces as they arrive, and its numbers. Several conversations may generate at once.

import { chunks } from "./api.js";
import { tokensOf } from "./tokens.js";

const running = new Map(); // conversation -> its Generation

export const runningIn = (conversation) => running.get(conversation) ?? null;

export class Generation {
  /**
   * `node` takes content, tokens, end ("stop", "length", "stopped", "error"), numbers and error.
   * `changed()` is called after every piece and at the end.
   */
  constructor(conversation, node, path, body, changed) {
    Object.assign(this, { conversation, node, path, body, changed });
    this.aborter = new AbortController();
    this.pieces = 0;
  }

  stop() {
    this.aborter.abort();
  }

  async run() {
    const { node, conversation, body } = this;
    running.set(conversation, this);
    Object.assign(node, {
      end: "",
      error: null,
      tokens: [],
      numbers: { seed: body.seed, temperature: body.temperature },
    });
    this.began = performance.now();
    this.changed();
    try {
      for await (const chunk of chunks(this.path, body, this.aborter.signal)) this.take(chunk);
      node.end ||= "stop";
    } catch (error) {
      node.end = error.name === "AbortError" ? "stopped" : "error";
      if (node.end === "error") node.error = error;
    }
    running.delete(conversation);
    this.changed();
  }

  take({ choices, usage, model }) {
    const { node } = this,
      choice = choices?.[0],
      text = choice?.delta?.content ?? choice?.text ?? "";
    if (usage) Object.assign(node.numbers, { prompt: usage.prompt_tokens, made: usage.completion_tokens });
    if (model) node.numbers.model = model;
    if (!choice) return;
    if (choice.finish_reason) node.end = choice.finish_reason;
    const tokens = tokensOf(choice);
    node.tokens.push(...tokens);
    if (text || tokens.length) this.count(tokens.length || 1);
    node.content += text;
    this.changed();
  }

  /** Tokens that arrived now. Without probabilities a piece of text counts as one until the server's count comes. */
  count(tokens) {
    const { numbers } = this.node;
    this.pieces += tokens;
    numbers.made = this.pieces;
    const seconds = (performance.now() - this.began) / 1000;
    numbers.first ??= seconds;
    numbers.seconds = seconds;
  }
}
