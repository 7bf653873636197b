// The first screens of the tour: what a language model does, and how it learns.

import { ask } from "./api.js";
import { Bars } from "./bars.js";
import { facts, make } from "./elements.js";
import { integer, number, percent, visible } from "./format.js";
import { command, loadHistory, records, status, vocabulary } from "./lab.js";
import { LineChart } from "./line_chart.js";
import { ranked, softmax } from "./sampling.js";
import { WARM, button, inline, look, size, trained, stepper } from "./tour_parts.js";
import { cut } from "./view_merges.js";
import { promptText } from "./view_prompt.js";

const FAST = 30,
  FAST_STEPS = 30;

async function nextTokens(from) {
  const [answer, { texts }] = await Promise.all([look(from), vocabulary()]),
    p = softmax(answer.logits.data);
  return { p, ids: ranked(p), texts };
}

const picture = ({ p, ids, texts }, title) =>
  new Bars({ title, items: ids.slice(0, 6).map((id) => ({ key: id, text: texts[id], probability: p[id] })) }).element;

export const LEARNING = [
  {
    title: "A machine that continues text",
    text: () => [
      "This model reads “",
      make("code", {}, visible(promptText())),
      `” and gives each of its ${integer(size())} tokens a probability of coming next. Go back `,
      inline(button("zero", "to step 0", () => command("goto", { at: `${status.branch}@0` }))),
      ", before any training: its weights are random numbers.",
    ],
    question: "At step 0, how probable is its favourite next token?",
    options: () => [`Not much above 1/${integer(size())}`, "About one half", "Almost certain"],
    async answer() {
      const next = await nextTokens(`${status.branch}@0`),
        top = next.p[next.ids[0]];
      return {
        right: top > 0.9 ? 2 : top > 0.25 ? 1 : 0,
        content: [
          make(
            "p",
            {},
            `It gives its favourite ${percent(top)}; one in ${integer(size())} is ${percent(1 / size())}. Random weights prefer hardly anything.`,
          ),
          picture(next, "The next token at step 0"),
        ],
      };
    },
  },
  {
    title: "Surprise, as a number",
    text: () => [
      "The loss of one token is −ln p, where p is the probability that the model gave to it. A token that was certain costs 0; one with p = 1/2 costs 0.69 nats; with p = 1/100, 4.6. The loss of a text is the mean over its tokens.",
    ],
    question: "What is the loss of a model that gives all tokens the same probability?",
    options: () => ["0", "1", `ln ${integer(size())}`],
    async answer() {
      const batch = await ask("batch", { at: `${status.branch}@0` }),
        losses = batch.losses.data,
        mean = losses.reduce((sum, x) => sum + x, 0) / losses.length;
      return {
        right: 2,
        content: [
          make(
            "p",
            {},
            `−ln(1/V) = ln ${integer(size())} = ${number(Math.log(size()))} nats. On the first batch the untrained model has ${number(mean)}. A loss above ln V is worse than knowing nothing.`,
          ),
        ],
      };
    },
  },
  {
    title: "The first thing that is learned",
    text: () => [
      "Some tokens are far more frequent than others. A model that knows this and nothing else has a loss of ",
      make("b", {}, `${number(status.lines.unigram)} nats`),
      `, the entropy of the unigrams. Training begins at ${number(status.lines.lnV)}. Take it to step `,
      stepper(),
      " and watch, or let the answer train it.",
    ],
    question: "How many steps until the loss is below that of the frequencies?",
    options: () => ["Fewer than 100", "100 to 1,000", "More than 1,000"],
    async answer() {
      await trained(WARM);
      await loadHistory(status.branch);
      const all = records(status.branch),
        first = all.find((one) => one.trainLoss < status.lines.unigram);
      const chart = new LineChart({
        title: "Loss",
        unit: "nats",
        height: 200,
        series: [{ name: "training", xs: all.map(({ step }) => step), ys: all.map((one) => one.trainLoss ?? NaN) }],
        lines: [{ name: "unigram entropy", y: status.lines.unigram }],
      });
      return {
        right: !first || first.step > 1000 ? 2 : first.step < 100 ? 0 : 1,
        content: [
          make(
            "p",
            {},
            first
              ? `At step ${integer(first.step)} a batch is below the line for the first time. Frequencies come first; what comes below the line is context: which token follows which.`
              : `In ${integer(status.step)} steps it was not yet below the line.`,
          ),
          chart.element,
        ],
      };
    },
  },
  {
    title: "How far to step",
    text: () => [
      `Each step moves the weights against the gradient, by an amount that the learning rate sets. Now it is ${number(status.rate)}. Suppose that from here on it were ${FAST} times as large.`,
    ],
    question: `After ${FAST_STEPS} steps with ${FAST} times the rate, compared with the usual rate, the loss is`,
    options: () => ["lower: larger steps arrive sooner", "higher: the steps overshoot", "the same"],
    async answer() {
      await trained(WARM);
      const home = status.branch,
        from = status.step,
        rate = status.rate;
      await command("goto", { at: `${home}@${from + FAST_STEPS}` });
      await command("goto", { at: `${home}@${from}` });
      const fast = await command("rate", { rate: Number((rate * FAST).toPrecision(6)), name: `fast-${from}` });
      await command("step", { count: FAST_STEPS });
      const other = fast.branch;
      await Promise.all([loadHistory(home), loadHistory(other)]);
      await command("goto", { at: `${home}@${from}` });
      const mean = (name) => {
        const last = records(name).filter(
          ({ step, trainLoss }) =>
            step > from + FAST_STEPS - 10 && step <= from + FAST_STEPS && trainLoss !== undefined,
        );
        return last.reduce((sum, one) => sum + one.trainLoss, 0) / last.length;
      };
      const [usual, quick] = [mean(home), mean(other)],
        line = (name, style) => {
          const all = records(name).filter(
            ({ step, trainLoss }) => step > from - 20 && step <= from + FAST_STEPS && trainLoss !== undefined,
          );
          return { name, xs: all.map(({ step }) => step), ys: all.map((one) => one.trainLoss), style, dash: style };
        };
      return {
        right: Math.abs(usual - quick) < 0.02 ? 2 : quick < usual ? 0 : 1,
        content: [
          make(
            "p",
            {},
            `Over the last ten of these steps the loss was ${number(usual)} with the usual rate and ${number(quick)} with ${FAST} times as much.`,
          ),
          new LineChart({
            title: "Loss with both rates",
            unit: "nats",
            height: 200,
            series: [line(home, 0), line(other, 1)],
          }).element,
        ],
      };
    },
  },
  {
    title: "Text becomes tokens",
    text: () => [
      "Models seldom read letters. Byte pair encoding starts from single bytes and joins the most frequent pair of neighbours, again and again; each joined pair is a new token. The view Merges shows every step.",
    ],
    question: "The more merges, the",
    options: () => [
      "more tokens a text has, and the larger the vocabulary",
      "fewer tokens a text has, but the larger the vocabulary",
      "fewer tokens a text has, and the smaller the vocabulary",
    ],
    async answer() {
      const merges = await ask("merges", { text: promptText() }),
        count = (rank) => merges.pieces.flatMap((piece) => cut(piece, rank)).length,
        ranks = [0, 0.25, 0.5, 1].map((share) => Math.round(merges.first + share * (merges.ranks - merges.first)));
      return {
        right: 1,
        content: [
          make("p", {}, "Each merge adds one token to the vocabulary and can only shorten a text:"),
          facts(
            ranks.map((rank) => [
              `${integer(rank - merges.first)} merges`,
              `${integer(count(rank))} tokens, a vocabulary of ${integer(256 + rank - merges.first)}`,
            ]),
          ),
        ],
      };
    },
  },
];
