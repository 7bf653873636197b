// The screens of the tour. Each has a text whose sentences hold controls, a question with answers to choose from, and
// what the lab then measures: `answer` returns {right, content}, where `right` is the number of the right answer.

import { ask } from "./api.js";
import { Attention } from "./attention.js";
import { Bars } from "./bars.js";
import { Scale } from "./colours.js";
import { facts, make } from "./elements.js";
import { integer, named, number, percent, signed, visible } from "./format.js";
import { HeatMap } from "./heat_map.js";
import { command, loadHistory, records, status, vocabulary } from "./lab.js";
import { LineChart } from "./line_chart.js";
import { ranked, softmax } from "./sampling.js";
import { index, numeric, set } from "./state.js";
import { promptText } from "./view_prompt.js";
import { cut } from "./view_merges.js";
import { hunt } from "./tour_hunt.js";

const WARM = 150; // steps after which the screens about a trained model look at it
const FAST = 30, FAST_STEPS = 30;

const button = (key, name, act) => make("button", { type: "button", "data-key": `tour:${key}`, onclick: act }, name);
const inline = (...children) => make("span", { class: "inline" }, children);
const look = (at) => ask("look", { prompt: promptText(), at });
const at = () => status.at;
const size = () => status.model.settings.vocab_size;

/** Wait until training stands at `step` at least. */
async function trained(step) {
  if (status.step < step) await command("goto", { at: `${status.branch}@${step}` });
}

/** A slider that takes training to a step, in the middle of a sentence. */
function stepper() {
  const output = make("output", {}, integer(status.step));
  const input = make("input", { type: "range", min: 0, max: 300, step: 10, value: Math.min(300, status.step), "data-key": "tour:step", "aria-label": "Step", oninput: () => { output.textContent = input.value; },
    onchange: () => command("goto", { at: `${status.branch}@${input.value}` }) });
  return inline(input, output);
}

async function nextTokens(from) {
  const [answer, { texts }] = await Promise.all([look(from), vocabulary()]), p = softmax(answer.logits.data);
  return { p, ids: ranked(p), texts };
}

const picture = ({ p, ids, texts }, title) => new Bars({ title, items: ids.slice(0, 6).map((id) => ({ key: id, text: texts[id], probability: p[id] })) }).element;

function headChoice(redraw) {
  const heads = status.heads.flatMap((count, layer) => Array.from({ length: count }, (_, head) => [layer, head]));
  return make("select", { "data-key": "tour:head", "aria-label": "Head", onchange: (event) => {
    const [layer, head] = event.target.value.split(".");
    set({ layer, head });
    redraw();
  } }, heads.map(([layer, head]) => make("option", { value: `${layer}.${head}`, selected: layer === numeric("layer") && head === numeric("head") }, `head ${head} of layer ${layer}`)));
}

const chosenHead = () => {
  const layer = index("layer", status.heads.length);
  return [layer, index("head", status.heads[layer])];
};

export const SCREENS = [
  {
    title: "A machine that continues text",
    text: () => ["This model reads “", make("code", {}, visible(promptText())), `” and gives each of its ${integer(size())} tokens a probability of coming next. Go back `, inline(button("zero", "to step 0", () => command("goto", { at: `${status.branch}@0` }))), ", before any training: its weights are random numbers."],
    question: "At step 0, how probable is its favourite next token?",
    options: () => [`Not much above 1/${integer(size())}`, "About one half", "Almost certain"],
    async answer() {
      const next = await nextTokens(`${status.branch}@0`), top = next.p[next.ids[0]];
      return { right: top > .9 ? 2 : top > .25 ? 1 : 0, content: [make("p", {}, `It gives its favourite ${percent(top)}; one in ${integer(size())} is ${percent(1 / size())}. Random weights prefer hardly anything.`), picture(next, "The next token at step 0")] };
    },
  },
  {
    title: "Surprise, as a number",
    text: () => ["The loss of one token is −ln p, where p is the probability that the model gave to it. A token that was certain costs 0; one with p = 1/2 costs 0.69 nats; with p = 1/100, 4.6. The loss of a text is the mean over its tokens."],
    question: "What is the loss of a model that gives all tokens the same probability?",
    options: () => ["0", "1", `ln ${integer(size())}`],
    async answer() {
      const batch = await ask("batch", { at: `${status.branch}@0` }), losses = batch.losses.data, mean = losses.reduce((sum, x) => sum + x, 0) / losses.length;
      return { right: 2, content: [make("p", {}, `−ln(1/V) = ln ${integer(size())} = ${number(Math.log(size()))} nats. On the first batch the untrained model has ${number(mean)}. A loss above ln V is worse than knowing nothing.`)] };
    },
  },
  {
    title: "The first thing that is learned",
    text: () => ["Some tokens are far more frequent than others. A model that knows this and nothing else has a loss of ", make("b", {}, `${number(status.lines.unigram)} nats`), `, the entropy of the unigrams. Training begins at ${number(status.lines.lnV)}. Take it to step `, stepper(), " and watch, or let the answer train it."],
    question: "How many steps until the loss is below that of the frequencies?",
    options: () => ["Fewer than 100", "100 to 1,000", "More than 1,000"],
    async answer() {
      await trained(WARM);
      await loadHistory(status.branch);
      const all = records(status.branch), first = all.find((one) => one.trainLoss < status.lines.unigram);
      const chart = new LineChart({ title: "Loss", unit: "nats", height: 200, series: [{ name: "training", xs: all.map(({ step }) => step), ys: all.map((one) => one.trainLoss ?? NaN) }], lines: [{ name: "unigram entropy", y: status.lines.unigram }] });
      return { right: !first || first.step > 1000 ? 2 : first.step < 100 ? 0 : 1, content: [make("p", {}, first ? `At step ${integer(first.step)} a batch is below the line for the first time. Frequencies come first; what comes below the line is context: which token follows which.` : `In ${integer(status.step)} steps it was not yet below the line.`), chart.element] };
    },
  },
  {
    title: "How far to step",
    text: () => [`Each step moves the weights against the gradient, by an amount that the learning rate sets. Now it is ${number(status.rate)}. Suppose that from here on it were ${FAST} times as large.`],
    question: `After ${FAST_STEPS} steps with ${FAST} times the rate, compared with the usual rate, the loss is`,
    options: () => ["lower: larger steps arrive sooner", "higher: the steps overshoot", "the same"],
    async answer() {
      await trained(WARM);
      const home = status.branch, from = status.step, rate = status.rate;
      await command("goto", { at: `${home}@${from + FAST_STEPS}` });
      await command("goto", { at: `${home}@${from}` });
      const fast = await command("rate", { rate: Number((rate * FAST).toPrecision(6)), name: `fast-${from}` });
      await command("step", { count: FAST_STEPS });
      const other = fast.branch;
      await Promise.all([loadHistory(home), loadHistory(other)]);
      await command("goto", { at: `${home}@${from}` });
      const mean = (name) => {
        const last = records(name).filter(({ step, trainLoss }) => step > from + FAST_STEPS - 10 && step <= from + FAST_STEPS && trainLoss !== undefined);
        return last.reduce((sum, one) => sum + one.trainLoss, 0) / last.length;
      };
      const [usual, quick] = [mean(home), mean(other)], line = (name, style) => {
        const all = records(name).filter(({ step, trainLoss }) => step > from - 20 && step <= from + FAST_STEPS && trainLoss !== undefined);
        return { name, xs: all.map(({ step }) => step), ys: all.map((one) => one.trainLoss), style, dash: style };
      };
      return { right: Math.abs(usual - quick) < .02 ? 2 : quick < usual ? 0 : 1, content: [make("p", {}, `Over the last ten of these steps the loss was ${number(usual)} with the usual rate and ${number(quick)} with ${FAST} times as much.`), new LineChart({ title: "Loss with both rates", unit: "nats", height: 200, series: [line(home, 0), line(other, 1)] }).element] };
    },
  },
  {
    title: "Text becomes tokens",
    text: () => ["Models seldom read letters. Byte pair encoding starts from single bytes and joins the most frequent pair of neighbours, again and again; each joined pair is a new token. The view Merges shows every step."],
    question: "The more merges, the",
    options: () => ["more tokens a text has, and the larger the vocabulary", "fewer tokens a text has, but the larger the vocabulary", "fewer tokens a text has, and the smaller the vocabulary"],
    async answer() {
      const merges = await ask("merges", { text: promptText() }), count = (rank) => merges.pieces.flatMap((piece) => cut(piece, rank)).length, ranks = [0, .25, .5, 1].map((share) => Math.round(merges.first + share * (merges.ranks - merges.first)));
      return { right: 1, content: [make("p", {}, "Each merge adds one token to the vocabulary and can only shorten a text:"), facts(ranks.map((rank) => [`${integer(rank - merges.first)} merges`, `${integer(count(rank))} tokens, a vocabulary of ${integer(256 + rank - merges.first)}`]))] };
    },
  },
  {
    title: "Looking back",
    text: (redraw) => ["In a head, each token spreads a weight of 1 over tokens and takes up a mixture of what they offer. Look at ", inline(headChoice(redraw)), ": rows look, columns are looked at."],
    question: "May a token look at one that comes after it?",
    options: () => ["Yes", "No", "Only in the last layer"],
    async answer() {
      const answer = await look(at()), heads = new Attention(answer.heads), [layer, head] = chosenHead(), labels = answer.tokens.map(({ text }) => visible(text));
      return { right: 1, content: [make("p", {}, "No: its loss is about predicting exactly these tokens. Everything above the diagonal is masked, in every head, before the softmax."), new HeatMap({ title: `Layer ${layer}, head ${head}`, rows: labels, columns: labels, rowsAre: "tokens that look", columnsAre: "tokens that are looked at", empty: "masked", scale: new Scale({ unit: "attention weight" }), value: (row, column) => column > row ? null : heads.share(layer, head, heads.cell(row, column)),
        describe: (row, column) => column > row ? "masked" : `${named(answer.tokens[row].text, row)} looks at ${named(answer.tokens[column].text, column)}: ${percent(heads.share(layer, head, heads.cell(row, column)))}` }).element] };
    },
  },
  {
    title: "Is this head needed?",
    text: (redraw) => ["The gradient makes a promise: if all weights A of a head were 0, the loss would change by −Σ A ⊙ ∂L/∂A, were it a straight line. Choose ", inline(headChoice(redraw)), " and switch it off in your mind."],
    question: "Without this head, the loss of this text will",
    options: () => ["rise", "fall", "hardly change (less than 0.001 nats)"],
    async answer() {
      const [layer, head] = chosenHead(), { off } = await ask("look", { prompt: promptText(), at: at(), off: [`${layer}.${head}`] });
      return { right: Math.abs(off.measured) < .001 ? 2 : off.measured > 0 ? 0 : 1, content: [make("p", {}, `Measured: ${signed(off.measured, 3)} nats, from ${number(off.baseline)} to ${number(off.loss)}. Promised: ${signed(off.promised, 3)}. The promise holds near the present weights; switching off is a long way.`)] };
    },
  },
  {
    title: "A slope that you can measure",
    text: () => ["backward() computes the gradient of every number in one walk. But a slope can also be measured: move one weight by a tiny ε up and down, run the model twice, and divide the difference of the losses by 2ε. Here it is done for the first weight that a ", make("code", {}, "linear"), " reads, in 64-bit numbers."],
    question: "The measured slope and that of backward() will agree",
    options: () => ["not at all", "in the first digit or two", "in six digits or more"],
    async answer() {
      const graph = await ask("backward", { prompt: promptText(), at: at() });
      const operation = graph.operations.find((one) => one.backward && one.operands.some((x) => x.parameter && x.shape.length === 2)), operand = operation.operands.find((x) => x.parameter && x.shape.length === 2);
      const result = await ask("measure", { prompt: promptText(), at: at(), index: operation.index, name: operand.name, element: [0, 0] });
      const relative = Math.abs(result.difference) / Math.max(Math.abs(result.backward), 1e-12);
      return { right: relative < 1e-5 ? 2 : relative < .3 ? 1 : 0, content: [make("p", {}, "For ", make("code", {}, `${operand.parameter}[0, 0]`), ":"), facts([["measured", number(result.measured, 9)], ["backward", number(result.backward, 9)], ["difference", number(result.difference, 2)]]), make("p", {}, "The view Backward measures any element that you click.")] };
    },
  },
  {
    title: "One weight and its step",
    text: () => ["AdamW keeps two running averages for each weight: m of the gradient, v of its square. Its step is about −rate · m/√v."],
    question: "If all gradients were ten times as large, the steps would be",
    options: () => ["ten times as large", "the same", "a tenth"],
    async answer() {
      await trained(WARM);
      const { name, shape } = status.parameters.find((one) => one.shape.length === 2) ?? status.parameters[0], place = shape.map(() => 0);
      const one = await ask("weight", { name, index: place, at: at(), steps: 40 });
      return { right: 1, content: [make("p", {}, "m grows tenfold, and √v too: the quotient stays. So one rate serves layers whose gradients differ a thousandfold. For ", make("code", {}, `${name}[${place.join(", ")}]`), ":"), facts([["gradient", number(one.gradient)], ["m", number(one.m)], ["√v", number(Math.sqrt(one.v))], ["m/√v", one.v > 0 ? number(one.m / Math.sqrt(one.v)) : "none"], ["rate", number(status.rate)], ["update", signed(one.update)]])] };
    },
  },
  { title: "A blind hunt", text: () => ["Programs that train a model seldom stop when they are wrong. Somebody has put one classic mistake into the code of a twin, which trains on the same batches. Find it by its curve, by the checks of the fault lab, and by hints."], hunt },
];

