// Ten short screens. Each asks for a prediction, and then measures.

import { saved } from "./api.js";
import { make, show } from "./elements.js";
import { newest, status } from "./lab.js";
import { index, list, set } from "./state.js";
import { SCREENS } from "./tour_screens.js";

export function tourView() {
  const body = make("div", { class: "tour stack" }),
    answers = new Map();
  const element = make("section", { class: "view" }, body);
  let live = null;

  const screen = () => index("screen", SCREENS.length + 1, 1) || 1;
  const go = (to) => set({ screen: Math.max(1, Math.min(SCREENS.length, to)) });
  const said = () => new Map(list("said").map((one) => one.split(".").map(Number)));

  function predict(option) {
    const all = said().set(screen(), option);
    set({ said: [...all].map((pair) => pair.join(".")).join(",") });
  }

  const measure = newest(async (isCurrent, place, number, option) => {
    show(place, make("p", { class: "faint" }, "The lab measures …"));
    if (!answers.has(number)) answers.set(number, await SCREENS[number - 1].answer());
    if (!isCurrent()) return;
    const { right, content } = answers.get(number),
      { options } = SCREENS[number - 1];
    show(
      place,
      make(
        "p",
        {},
        make("b", {}, option === right ? "As you said. " : `You said: ${options()[option]}. `),
        option === right ? null : `It is: ${options()[right]}.`,
      ),
      content,
      make(
        "div",
        { class: "row" },
        make(
          "button",
          {
            type: "button",
            "data-key": "again",
            onclick: () => {
              answers.delete(number);
              const all = said();
              all.delete(number);
              set({ said: [...all].map((pair) => pair.join(".")).join(",") });
            },
          },
          "Ask again",
        ),
        make(
          "button",
          { type: "button", class: "primary", "data-key": "onward", onclick: () => go(number + 1) },
          "Next screen",
        ),
      ),
    );
  });

  function draw() {
    const number = screen(),
      one = SCREENS[number - 1],
      option = said().get(number);
    live = one.hunt ? one.hunt() : null;
    const answer = make("div", { class: "answer stack", "aria-live": "polite" });
    show(
      body,
      make(
        "div",
        { class: "progress", role: "group", "aria-label": "Screens" },
        SCREENS.map(({ title }, i) =>
          make(
            "button",
            {
              type: "button",
              "data-key": `screen:${i + 1}`,
              "aria-label": `Screen ${i + 1}: ${title}`,
              "aria-current": i + 1 === number ? "step" : undefined,
              class: said().has(i + 1) ? "seen" : undefined,
              onclick: () => go(i + 1),
            },
            String(i + 1),
          ),
        ),
      ),
      make("h2", {}, one.title),
      make("p", {}, one.text(draw)),
      live
        ? live.element
        : one.hunt
          ? null
          : [
              make("p", {}, make("b", {}, one.question)),
              make(
                "div",
                { class: "stack", role: "group", "aria-label": one.question },
                one.options().map((name, i) =>
                  make(
                    "div",
                    {},
                    make(
                      "button",
                      {
                        type: "button",
                        "data-key": `option:${i}`,
                        "aria-pressed": String(i === option),
                        disabled: option !== undefined,
                        onclick: () => predict(i),
                      },
                      name,
                    ),
                  ),
                ),
              ),
            ],
      option === undefined || one.hunt ? null : answer,
    );
    if (option !== undefined && !one.hunt) measure(answer, number, option);
  }

  function update(keys) {
    if (!status.isNew || saved) {
      return show(
        body,
        make("h2", {}, "The tour needs a new model that trains"),
        make(
          "p",
          {},
          saved
            ? "This page is saved. Start the lab and open its tour:"
            : "This lab has opened a model. Start one without arguments:",
        ),
        make("p", {}, make("code", {}, "tinygrad-llm lab")),
      );
    }
    if (!keys || keys.some((key) => ["screen", "said", "view"].includes(key))) draw();
    return undefined;
  }
  return { element, update, onLab: () => live?.onLab() };
}
