// Settings of sampling and of the page, kept in the browser, and the panel that changes them.

import { make, show, slider } from "./elements.js";
import { integer } from "./format.js";

const KEY = "tinygrad-llm.settings";
const MOST_SEED = 2 ** 31 - 1;
const DEFAULTS = {
  temperature: 0.7,
  topP: 1,
  maxTokens: null, // null: what the context leaves
  seed: null, // null: another one for every answer
  probabilities: true,
  scheme: "",
};
const ALTERNATIVES = 8; // the most probable tokens that are asked for with each token

const isBetween = (low, high) => (x) => typeof x === "number" && x >= low && x <= high;
const orNull = (test) => (x) => x === null || (Number.isInteger(x) && test(x));
const VALID = {
  temperature: isBetween(0, 2),
  topP: isBetween(0, 1),
  maxTokens: orNull(isBetween(1, 1e6)),
  seed: orNull(isBetween(0, MOST_SEED)),
  probabilities: (x) => typeof x === "boolean",
  scheme: (x) => ["", "light", "dark"].includes(x),
};

export const settings = { ...DEFAULTS };
try {
  const kept = JSON.parse(localStorage.getItem(KEY)) ?? {};
  for (const name of Object.keys(DEFAULTS)) if (VALID[name](kept[name])) settings[name] = kept[name];
} catch {
  // nothing is kept, or it cannot be read
}

export function change(changes) {
  Object.assign(settings, changes);
  try {
    localStorage.setItem(KEY, JSON.stringify(settings));
  } catch {
    // they hold as long as the page
  }
}

/** The fields of a request. A seed that is not set is drawn here, so that the answer can be repeated. */
export function requestFields(kind) {
  const { temperature, topP, maxTokens, seed, probabilities } = settings;
  const ofChat = { logprobs: true, top_logprobs: ALTERNATIVES };
  return {
    temperature,
    top_p: topP,
    ...(maxTokens === null ? {} : { max_tokens: maxTokens }),
    seed: seed ?? crypto.getRandomValues(new Uint32Array(1))[0] % MOST_SEED,
    ...(probabilities ? (kind === "chat" ? ofChat : { logprobs: ALTERNATIVES }) : {}),
  };
}

/** A field for a number that may be left out. */
function numberField(label, name, hint) {
  const problem = make("span", { class: "problem", id: `${name}Problem` });
  const input = make("input", {
    type: "text",
    inputmode: "numeric",
    class: "short",
    "data-key": name,
    value: settings[name] ?? "",
    placeholder: hint,
    "aria-describedby": `${name}Problem`,
    oninput: () => {
      const text = input.value.replace(/[,\s]/g, ""),
        value = text === "" ? null : Number(text);
      const isValid = VALID[name](value);
      input.setAttribute("aria-invalid", String(!isValid));
      problem.textContent = isValid ? "" : "a whole number is needed; the last one holds";
      if (isValid) change({ [name]: value });
    },
  });
  return make("label", { class: "field" }, make("span", {}, label), input, problem);
}

/** Fill the panel. `conversation` has the system prompt; null where there is none. `forgetAll` deletes the history. */
export function showSettings(panel, model, conversation, { changedSystem, forgetAll }) {
  const system = make("textarea", {
    rows: 3,
    "data-key": "system",
    placeholder: "none",
    oninput: () => changedSystem(system.value),
  });
  system.value = conversation?.system ?? "";
  const isChat = conversation?.kind === "chat";
  show(
    panel,
    make("h2", {}, "Settings"),
    isChat && model.takes_system
      ? make("label", { class: "field" }, make("span", {}, "System prompt of this conversation"), system)
      : null,
    slider("Temperature", {
      min: 0,
      max: 2,
      step: 0.05,
      value: settings.temperature,
      key: "temperature",
      name: (x) => (x === 0 ? "0: always the most probable token" : String(x)),
      input: (temperature) => change({ temperature }),
    }),
    slider("Top-p", {
      min: 0.05,
      max: 1,
      step: 0.05,
      value: settings.topP,
      key: "topP",
      name: (x) => (x === 1 ? "off" : `the most probable tokens that make up ${Math.round(100 * x)} %`),
      input: (topP) => change({ topP }),
    }),
    numberField("Maximum length of an answer, in tokens", "maxTokens", "context"),
    numberField("Seed of the draws", "seed", "random"),
    make(
      "label",
      { class: "check" },
      make("input", {
        type: "checkbox",
        "data-key": "probabilities",
        checked: settings.probabilities,
        onchange: (event) => change({ probabilities: event.target.checked }),
      }),
      " Ask for the probabilities of tokens",
    ),
    make(
      "div",
      { class: "row" },
      make(
        "button",
        {
          type: "button",
          "data-key": "reset",
          onclick: () => {
            change({ ...DEFAULTS, scheme: settings.scheme });
            showSettings(panel, model, conversation, { changedSystem, forgetAll });
          },
        },
        "Reset",
      ),
      make("button", { type: "button", "data-key": "forgetAll", onclick: forgetAll }, "Delete the history"),
    ),
    make(
      "p",
      { class: "note" },
      `${model.id}, a context of ${integer(model.context_length)} tokens. `,
      "Conversations are kept in this browser alone. The probabilities of tokens are forgotten with the page. ",
      "A seed repeats an answer: the same request with it draws the same tokens, apart from rounding when several requests are computed together.",
    ),
  );
}
