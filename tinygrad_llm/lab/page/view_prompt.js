// What comes next? The tokens of a text, and the distribution of the next one, which can be bent before it is sampled.

import { ask, saved, stream } from "./api.js";
import { Bars } from "./bars.js";
import { Delayed } from "./busy.js";
import { facts, heading, make, show, slider } from "./elements.js";
import { integer, named, number, percent, visible } from "./format.js";
import { newest, status, vocabulary, where } from "./lab.js";
import { Picture, table } from "./picture.js";
import { distribution, drawn } from "./sampling.js";
import { index, numeric, set, text } from "./state.js";
import { Tokens } from "./tokens.js";

const SHOWN = 12; // candidates
const DELAY = 300; // milliseconds after the last key until the model reads the text

export const promptText = () => text("prompt", status.prompt ?? "");

/** The text that the model reads, as a field that every view about a prompt shows. */
export function promptField(rows = 2) {
  if (saved)
    return {
      element: make(
        "div",
        { class: "quoted", "data-part": "", tabindex: "-1", "data-stop": "", role: "region", "aria-label": "The text" },
        promptText(),
      ),
      update() {},
    };
  const typing = new Delayed();
  const area = make("textarea", {
    rows,
    "data-key": "prompt",
    "aria-label": "Text that the model reads",
    spellcheck: "false",
    oninput: () => {
      typing.start(DELAY, () => set({ prompt: area.value }));
    },
  });
  return {
    element: make("label", { class: "field", "data-part": "" }, make("span", {}, "Text that the model reads"), area),
    update() {
      if (document.activeElement !== area || area.value.trim() === "") area.value = promptText();
    },
    put(value) {
      typing.cancel();
      area.value = value;
      set({ prompt: value });
    },
  };
}

export function promptView() {
  const field = promptField(3);
  const tokens = new Tokens({
    title: "Tokens",
    note: "Text, id, bytes, and the loss: −ln of the probability that the model gave to this token.",
    tokens: [],
    select: (token) => set({ token }),
  });
  const bars = new Bars({
    title: "The next token",
    choose: saved ? undefined : (item) => field.put(promptText() + item.text),
  });
  const lens = new Picture({
    title: "Predictions of each layer (logit lens)",
    note: "The most probable next tokens if the head read the residual stream of this layer. The token that follows in the text is in bold.",
    table: () => lensTable(),
  });
  let lensTable = () => ({ columns: [], rows: [] }); // new elements at each call
  const knobs = make("div", { class: "panel stack", "data-part": "" }),
    chat = make("div", {}),
    leftOut = make("p", { class: "note" });
  const element = make(
    "section",
    { class: "view" },
    heading(
      "What comes next?",
      "A language model answers with one number for every token of its vocabulary: how probable it is that this token comes next.",
      saved ? null : " Type, and see what it expects; choose a candidate to go on with it.",
    ),
    field.element,
    leftOut,
    tokens.element,
    make("div", { class: "columns" }, bars.element, knobs),
    lens.element,
    chat,
  );
  let look = null,
    known = null;

  const settings = () => ({
    temperature: numeric("temperature", 1),
    k: numeric("k", 0),
    p: numeric("p", 1),
    minP: numeric("minp", 0),
  });

  function drawKnobs() {
    const { temperature, k, p, minP } = settings(),
      size = look?.logits.length ?? 2;
    const knob = (label, key, options) =>
      slider(label, {
        ...options,
        key,
        input: (value) => {
          set({ [key]: value === options.nothing ? null : value });
          drawBars();
        },
      });
    show(
      knobs,
      make("h3", {}, "Before sampling"),
      knob("Temperature", "temperature", {
        min: 0,
        max: 2,
        step: 0.05,
        value: temperature,
        nothing: 1,
        name: (x) => (x === 0 ? "0: the most probable alone" : String(x)),
      }),
      knob("Top-k", "k", {
        min: 0,
        max: Math.min(size, 50),
        value: k,
        nothing: 0,
        name: (x) => (x === 0 ? "off" : `the ${x} most probable`),
      }),
      knob("Top-p", "p", {
        min: 0.05,
        max: 1,
        step: 0.05,
        value: p,
        nothing: 1,
        name: (x) => (x === 1 ? "off" : `the fewest that make up ${percent(x)}`),
      }),
      knob("Min-p", "minp", {
        min: 0,
        max: 0.5,
        step: 0.01,
        value: minP,
        nothing: 0,
        name: (x) => (x === 0 ? "off" : `at least ${percent(x)} of the most probable`),
      }),
      make(
        "div",
        { class: "row" },
        make(
          "button",
          {
            type: "button",
            class: "primary",
            "data-key": "draw",
            onclick: () => {
              const { after } = distribution(look.logits.data, settings());
              field.put(promptText() + known.texts[drawn(after, Math.random())]);
            },
            hidden: Boolean(saved),
          },
          "Draw one token",
        ),
        make(
          "button",
          {
            type: "button",
            "data-key": "reset",
            onclick: () => {
              set({ temperature: null, k: null, p: null, minp: null });
              drawKnobs();
              drawBars();
            },
          },
          "Reset",
        ),
      ),
      make("div", { "data-facts": "" }),
    );
    drawBars();
  }

  function drawBars() {
    if (!look || !known) return;
    const { ids, before, after } = distribution(look.logits.data, settings());
    const isBent = ids.some((id) => Math.abs(before[id] - after[id]) > 1e-12);
    const item = (id) => ({
      key: id,
      id,
      text: known.texts[id],
      probability: after[id],
      before: isBent ? before[id] : undefined,
      cut: after[id] === 0,
    });
    bars.show({
      items: ids.slice(0, SHOWN).map(item),
      describe: ({ id, text: token, probability }) =>
        `“${visible(token)}”, id ${id}: logit ${number(look.logits.at(id))}, p = ${percent(before[id])}${isBent ? `, sampled with ${percent(probability)}` : ""}${saved ? "" : "; Enter goes on with it"}`,
    });
    const entropy = (ps) => ps.reduce((sum, x) => (x > 0 ? sum - x * Math.log(x) : sum), 0),
      kept = after.reduce((sum, x) => sum + (x > 0), 0);
    const rest = ids.slice(SHOWN).reduce((sum, id) => sum + after[id], 0);
    const place = knobs.querySelector("[data-facts]");
    if (place)
      show(
        place,
        facts([
          ["tokens that can come", `${integer(kept)} of ${integer(ids.length)}`],
          ["entropy", `${number(entropy(after), 3)} nats (${number(entropy(before), 3)} before)`],
          [`beyond the ${SHOWN} shown`, percent(rest)],
        ]),
      );
  }

  const drawLens = newest(async (isCurrent) => {
    const answer = await ask("lens", { prompt: promptText(), at: where() });
    if (!isCurrent()) return;
    const token = index("token", answer.tokens.length, answer.tokens.length - 2),
      next = answer.tokens[token + 1];
    const layers = answer.predictions.map((layer, i) => [
      i === answer.predictions.length - 1 ? "output" : answer.streams[i].name,
      layer[token],
    ]);
    const cell = ([id, p]) => [
      make(next?.id === id ? "b" : "span", {}, make("code", {}, visible(answer.vocabulary[id])), ` ${percent(p)}`),
    ];
    lensTable = () => ({
      columns: ["after", ...layers[0][1].map((_, i) => `${i + 1}.`)],
      rows: layers.map(([name, row]) => [name, ...row.map(cell)]),
    });
    const { columns, rows } = lensTable();
    const predictions = table(columns, rows);
    predictions.classList.add("stacked");
    lens.body.replaceChildren(make("div", { class: "scroll" }, predictions));
    lens.say(
      `After ${named(answer.tokens[token].text, token)}${next ? `, the text goes on with “${visible(next.text)}”` : ", where the text ends"}.`,
    );
    lens.renewTable();
  });

  const renew = newest(async (isCurrent) => {
    const off = text("off") ? text("off").split(",") : undefined;
    const [answer, words] = await Promise.all([ask("look", { prompt: promptText(), at: where(), off }), vocabulary()]);
    if (!isCurrent()) return;
    [look, known] = [answer, words];
    show(leftOut, look.leftOut.length ? `Left out: ${look.leftOut.join("; ")}.` : "");
    tokens.show({
      tokens: look.tokens,
      losses: look.losses.data,
      chosen: index("token", look.tokens.length, look.tokens.length - 1),
    });
    bars.element.querySelector("h3").textContent =
      `The next token, after ${named(look.tokens.at(-1).text, look.tokens.length - 1)}`;
    drawKnobs();
    if (look.tokens.length > 1) await drawLens();
  });

  if (status.isChat && !saved) chat.append(chatPanel());
  return {
    element,
    follows: true,
    async update(keys) {
      field.update();
      if (keys && keys.every((key) => ["temperature", "k", "p", "minp"].includes(key))) return;
      if (keys?.length === 1 && keys[0] === "token" && look) {
        tokens.show({ chosen: index("token", look.tokens.length, look.tokens.length - 1) });
        await drawLens();
      } else await renew();
    },
  };
}

/** A conversation with a chat model; the answer comes token by token. */
function chatPanel() {
  const messages = [],
    log = make("div", { class: "stack", role: "log", "aria-label": "Conversation" });
  const input = make("input", {
    type: "text",
    "data-key": "chat",
    "aria-label": "Message",
    placeholder: "Say something",
    onkeydown: (event) => event.key === "Enter" && send(),
  });
  let stopper = null;
  const stop = make(
    "button",
    { type: "button", "data-key": "stop", disabled: true, onclick: () => stopper?.abort() },
    "Stop",
  );

  async function send() {
    if (!input.value.trim() || stopper) return;
    messages.push({ role: "user", content: input.value });
    log.append(make("p", {}, make("b", {}, "You: "), input.value));
    input.value = "";
    const answer = { role: "assistant", content: "" },
      line = make("p", {}, make("b", {}, "Model: "));
    log.append(line);
    stopper = new AbortController();
    stop.disabled = false;
    try {
      await stream(
        "chat",
        {
          messages,
          temperature: numeric("temperature", 1),
          k: numeric("k", 0),
          p: numeric("p", 1),
          minp: numeric("minp", 0),
          maxTokens: 400,
        },
        (piece) => {
          if (piece.text) line.append(piece.text);
          answer.content += piece.text ?? "";
          if (piece.error) line.append(make("i", {}, ` (${piece.error})`));
          if (piece.done && piece.why !== "end of turn") line.append(make("i", {}, ` (ends: ${piece.why})`));
        },
        stopper.signal,
      );
    } catch (error) {
      line.append(make("i", {}, error.name === "AbortError" ? " (stopped)" : ` (${error.message})`));
    }
    messages.push(answer);
    stopper = null;
    stop.disabled = true;
  }
  return make(
    "div",
    { class: "panel stack", "data-part": "" },
    make("h3", {}, "Chat"),
    make("p", { class: "note" }, "The model's own chat template is used; the sampling settings above apply."),
    log,
    make(
      "div",
      { class: "row" },
      input,
      make("button", { type: "button", "data-key": "send", onclick: send }, "Send"),
      stop,
    ),
  );
}
