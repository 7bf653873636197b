// What does each part cost? Operations by formula, bytes and the time of one forward.

import { ask } from "./api.js";
import { facts, heading, make, show } from "./elements.js";
import { bytes, integer, number, percent } from "./format.js";
import { newest, where } from "./lab.js";
import { promptText } from "./view_prompt.js";
import { numeric, set } from "./state.js";

const COLUMNS = ["operations", "share", "weights", "output", "ms", "share", "GFLOP/s"];

export function costsView() {
  const body = make("div", { "data-part": "" }),
    about = make("div", { class: "panel", "aria-live": "polite" });
  const element = make(
    "section",
    { class: "view" },
    heading(
      "What does each part cost?",
      "Floating-point operations by their formula, bytes, and the time of one forward of the part alone on these tokens, the shortest of three. Choose a part to see its formula.",
    ),
    body,
    about,
  );

  const renew = newest(async (isCurrent) => {
    const { costs } = await ask("lens", { prompt: promptText(), at: where() });
    if (!isCurrent()) return;
    const sum = (key) => costs.reduce((total, cost) => total + cost[key], 0),
      flops = sum("flops"),
      seconds = sum("seconds");
    const chosen = Math.max(0, Math.min(costs.length - 1, numeric("cost", 0)));
    const rate = (cost) => (cost.flops && cost.seconds ? number(cost.flops / cost.seconds / 1e9, 3) : "–");
    const cells = (cost) => [
      integer(cost.flops),
      flops ? percent(cost.flops / flops) : "–",
      bytes(cost.weightBytes),
      bytes(cost.outputBytes),
      number(1e3 * cost.seconds, 3),
      percent(cost.seconds / seconds),
      rate(cost),
    ];
    show(
      body,
      make(
        "div",
        { class: "scroll" },
        make(
          "table",
          { class: "stacked" },
          make(
            "thead",
            {},
            make(
              "tr",
              {},
              ["part", ...COLUMNS].map((name) => make("th", { scope: "col" }, name)),
            ),
          ),
          make(
            "tbody",
            {},
            costs.map((cost, i) =>
              make(
                "tr",
                { "aria-selected": String(i === chosen) },
                make(
                  "th",
                  { scope: "row" },
                  make(
                    "button",
                    {
                      type: "button",
                      class: "quiet",
                      "data-key": `cost:${i}`,
                      onclick: () => set({ cost: i }),
                      onfocus: () => set({ cost: i }),
                    },
                    cost.name,
                  ),
                ),
                cells(cost).map((cell, column) => make("td", { "data-name": COLUMNS[column] }, cell)),
              ),
            ),
          ),
        ),
      ),
    );
    const cost = costs[chosen];
    show(
      about,
      make("h3", {}, cost.name),
      facts([
        ["operations", cost.flops ? `${cost.formula} = ${integer(cost.flops)}` : cost.formula],
        ["weights", `${integer(cost.weightBytes)} bytes`],
        ["output", `${integer(cost.outputBytes)} bytes`],
        [
          "time",
          `${number(1e3 * cost.seconds)} ms${cost.flops ? `, ${rate(cost)} billion operations per second` : ""}`,
        ],
      ]),
    );
  });
  return { element, update: renew };
}
