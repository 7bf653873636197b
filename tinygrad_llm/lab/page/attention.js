// The attention of all heads on a prompt, as `look` packs it: the lower triangle of each head, row by row.

import { number, percent } from "./format.js";

export class Attention {
  /** `heads` of an answer to `look`. */
  constructor(heads) {
    this.counts = heads.counts;
    this.tokens = heads.tokens;
    this.size = (heads.tokens * (heads.tokens + 1)) / 2;
    this.first = [];
    heads.counts.reduce((sum, count, layer) => ((this.first[layer] = sum), sum + count), 0);
    Object.assign(this, {
      shares: heads.shares,
      gradients: heads.gradients,
      promised: heads.promised,
      logSums: heads.logSums,
      scales: heads.scales,
    });
  }

  head(layer, head) {
    return this.first[layer] + head;
  }

  cell(query, key) {
    return (query * (query + 1)) / 2 + key;
  }

  share(layer, head, cell) {
    return this.shares.at(this.head(layer, head) * this.size + cell);
  }

  /** dloss/dweight, or null for the last query: it predicts nothing in this text, so that no loss depends on it. */
  gradient(layer, head, cell) {
    if (!this.gradients || cell >= this.size - this.tokens) return null;
    return this.gradients.at(this.head(layer, head) * this.size + cell);
  }

  /** The mean entropy of a head's rows, in nats. */
  entropy(layer, head) {
    let sum = 0;
    for (let cell = 0; cell < this.size; cell++) {
      const share = this.share(layer, head, cell);
      if (share > 0) sum -= share * Math.log(share);
    }
    return sum / this.tokens;
  }

  largestGradient(layer, head) {
    let largest = 0;
    for (let cell = 0; cell < this.size; cell++)
      largest = Math.max(largest, Math.abs(this.gradient(layer, head, cell) ?? 0));
    return largest;
  }

  /** How the weight of a cell follows from q·k, as lines of arithmetic. */
  working(layer, head, query, key) {
    if (key > query)
      return ["The key comes after the query: masked.", "score  = −∞, so exp(score) = 0 and the weight is 0."];
    const cell = this.cell(query, key),
      share = this.share(layer, head, cell),
      at = this.head(layer, head);
    const lines = [];
    if (share === 0) lines.push(`The weight is 0, or below ${number(this.shares.scale / 2, 2)}.`);
    else if (this.logSums) {
      const logSum = this.logSums.data[at * this.tokens + query],
        scale = this.scales.data[at],
        score = Math.log(share) + logSum;
      const width = scale ** -2;
      lines.push(
        `q·k      = ${number(score / scale)}`,
        `scale    = ${number(scale)}${Math.abs(width - Math.round(width)) < 0.01 ? ` = 1/√${Math.round(width)}` : ""}`,
        `score    = q·k · scale = ${number(score)}`,
        `exp(score)               = ${number(Math.exp(score))}`,
        `Σ exp(score) of the row  = ${number(Math.exp(logSum))}`,
        `weight   = ${number(Math.exp(score))} / ${number(Math.exp(logSum))} = ${number(share)}`,
      );
    }
    lines.push("", `weight = ${number(share)}, ${percent(share)} of the row`);
    const gradient = this.gradient(layer, head, cell);
    if (gradient === null)
      lines.push(
        this.gradients
          ? "No gradient: the last token predicts nothing in this text."
          : "No gradient: a loss needs two tokens.",
      );
    else if (gradient === 0) lines.push("dloss/dweight = 0, or too small for this page's integers");
    else
      lines.push(
        `dloss/dweight = ${number(gradient)}: a larger weight would ${gradient > 0 ? "increase" : "decrease"} the loss`,
      );
    return lines;
  }
}
