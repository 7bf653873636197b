// How are the weights and their gradients distributed? Histograms of every parameter.

import { ask } from "./api.js";
import { heading, make, show } from "./elements.js";
import { integer, number, shape } from "./format.js";
import { histogram } from "./histogram.js";
import { newest, where } from "./lab.js";
import { Picture } from "./picture.js";
import { promptText } from "./view_prompt.js";

const STATISTICS = ["mean", "deviation"];

export function parametersView() {
  const groups = make("div", { class: "view" });
  const element = make(
    "section",
    { class: "view" },
    heading(
      "How are the weights and their gradients distributed?",
      "One histogram of each parameter's weights and one of their gradients, from the smallest value on the left to the largest on the right. The height counts elements, relative to the fullest bin.",
    ),
    groups,
  );

  function picture(name, parameters) {
    const group = new Picture({
      title: name,
      table: () => ({
        columns: [
          "parameter",
          "shape",
          "weights: mean",
          "standard deviation",
          "gradients: mean",
          "standard deviation",
          "not finite",
        ],
        rows: parameters.map((one) => [
          one.name,
          shape(one.shape),
          ...STATISTICS.map((key) => number(one.weights[key])),
          ...STATISTICS.map((key) => number(one.gradients[key])),
          integer(one.weights.notFinite + one.gradients.notFinite),
        ]),
      }),
    });
    const about = (one) =>
      `${one.name}, ${shape(one.shape)}: weights ${number(one.weights.mean, 3)} ± ${number(one.weights.deviation, 3)}, gradients ${number(one.gradients.mean, 3)} ± ${number(one.gradients.deviation, 3)} (mean ± standard deviation)`;
    group.body.append(
      make(
        "div",
        { class: "cards" },
        parameters.map((one) =>
          make(
            "button",
            {
              type: "button",
              class: "card",
              "data-key": one.name,
              onclick: () => group.say(about(one)),
              onfocus: () => group.say(about(one)),
              onpointerenter: () => group.say(about(one)),
            },
            make("b", {}, one.name.replace(/^blocks\.\d+\./, "").replaceAll(".", ".\u200b")),
            " ",
            make("span", { class: "faint" }, shape(one.shape)),
            histogram("weights", one.weights, ""),
            histogram("gradients", one.gradients, "second"),
          ),
        ),
      ),
    );
    group.say(about(parameters[0]));
    return group.element;
  }

  const renew = newest(async (isCurrent) => {
    const { parameters } = await ask("lens", { prompt: promptText(), at: where() });
    if (!isCurrent()) return;
    const grouped = parameters.reduce(
      (all, one) => all.set(groupOf(one), [...(all.get(groupOf(one)) ?? []), one]),
      new Map(),
    );
    show(
      groups,
      [...grouped].map(([name, inside]) => picture(name, inside)),
    );
  });
  return { element, update: renew };
}

function groupOf({ name }) {
  const parts = name.split(".");
  return parts[0] === "blocks" ? `Block ${parts[1]}` : "Outside the blocks";
}
