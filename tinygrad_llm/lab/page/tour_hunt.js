// The blind hunt: a twin with a hidden fault, the checks of the fault lab, hints, and guesses.

import { ask } from "./api.js";
import { make, show } from "./elements.js";
import { counted } from "./format.js";
import { command, complain, forgetTwin, records, status } from "./lab.js";
import { LineChart } from "./line_chart.js";

const SEEDS = 10_000;

/** The elements of the hunt, and `onLab` that draws its curves again. */
export function hunt() {
  const chart = new LineChart({ title: "Loss of both", unit: "nats per token", height: 220 });
  const log = make("ul", { class: "stack", "aria-live": "polite" }),
    tools = make("div", { class: "stack" });
  let questions = 0,
    hints = 0,
    isOver = false;

  const note = (...content) => log.prepend(make("li", {}, content));

  function drawCurves() {
    const line = (title, name, style) => {
      const all = records(name).filter(({ trainLoss }) => trainLoss !== undefined);
      return { name: title, xs: all.map(({ step }) => step), ys: all.map((one) => one.trainLoss), style, dash: style };
    };
    chart.show({ series: [line("right", status.branch, 0), line("twin with the fault", "twin", 1)] });
  }

  async function begin() {
    forgetTwin();
    log.replaceChildren();
    questions = hints = 0;
    isOver = false;
    if (!(await command("hunt", { seed: Math.floor(Math.random() * SEEDS) }))) return;
    await command("play", {});
    await drawTools();
  }

  async function inquire(name) {
    questions++;
    try {
      const finding = await ask("check", { hidden: true, check: name });
      note(
        make("b", {}, `${name}: ${finding.ok ? "right" : "WRONG"}. `),
        finding.claim,
        ` Observed: ${finding.observed}`,
      );
    } catch (error) {
      complain(error);
    }
  }

  async function hint() {
    questions++;
    const answer = await ask("hint", { number: hints }).catch((error) => complain(error));
    if (answer) note(make("b", {}, "Hint: "), answer.hint ?? "That was the last one; run the checks.");
    hints++;
  }

  async function guess(name) {
    questions++;
    const answer = await ask("guess", { fault: name }).catch((error) => complain(error));
    if (!answer) return;
    if (!answer.right) return note(`No, it is not ${name}.`);
    isOver = true;
    const fault = status.faults.find((one) => one.name === name);
    note(
      make("b", {}, `Found after ${counted(questions, "question")}: ${name}. `),
      fault.story,
      make("p", { class: "mono" }, `wrong  ${fault.wrong}`),
      make("p", { class: "mono" }, `right  ${fault.right}`),
      make("p", {}, `The check ${fault.caughtBy} is meant for it.`),
    );
    await drawTools();
  }

  async function drawTools() {
    const isHidden = status.twin?.hidden && !isOver;
    const { checks } = isHidden ? await ask("checks") : { checks: [] };
    const select = make(
      "select",
      { "data-key": "hunt:guess", "aria-label": "The mistake" },
      status.faults.map(({ name }) => make("option", { value: name }, name)),
    );
    show(
      tools,
      make(
        "div",
        { class: "row" },
        make(
          "button",
          { type: "button", class: isHidden ? undefined : "primary", "data-key": "hunt:begin", onclick: begin },
          isHidden || isOver ? "Hide another mistake" : "Hide a mistake",
        ),
        isHidden
          ? [
              make("button", { type: "button", "data-key": "hunt:hint", onclick: hint }, "Hint"),
              select,
              make(
                "button",
                { type: "button", class: "primary", "data-key": "hunt:sure", onclick: () => guess(select.value) },
                "It is this one",
              ),
            ]
          : null,
      ),
      isHidden
        ? [
            make(
              "p",
              { class: "note" },
              "Each check has one claim; run one to see whether it still holds in the twin.",
            ),
            make(
              "div",
              { class: "choices" },
              checks.map(({ name, claim }) =>
                make(
                  "button",
                  { type: "button", "data-key": `check:${name}`, title: claim, onclick: () => inquire(name) },
                  name,
                ),
              ),
            ),
          ]
        : null,
    );
  }

  drawTools().catch(complain);
  drawCurves();
  return { element: make("div", { class: "stack" }, tools, log, chart.element), onLab: drawCurves };
}
