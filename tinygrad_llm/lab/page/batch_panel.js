// The batch of a step as text, each token in the colour of its loss.

import { ask } from "./api.js";
import { make, show } from "./elements.js";
import { number, visible } from "./format.js";
import { newest, status, vocabulary, where } from "./lab.js";

/** The panel and its `update`, which reads the batch of the present step. */
export function batchPanel() {
  const element = make("div", { class: "panel", "data-part": "" });
  let row = 0;

  const update = newest(async (isCurrent) => {
    if (!status.canTrain || status.playing) return;
    const [answer, { texts }] = await Promise.all([ask("batch", { at: where() }), vocabulary()]);
    if (!isCurrent()) return;
    const [rows, length] = answer.inputs.shape;
    row = Math.min(row, rows - 1);
    const worst = Math.max(...answer.losses.data);
    const tokens = Array.from({ length }, (_, i) => {
      const loss = answer.losses.data[row * length + i],
        token = answer.targets.data[row * length + i];
      const mark = make("span", { title: `loss ${number(loss)} nats` }, visible(texts[token]));
      mark.style.backgroundColor = `color-mix(in srgb, var(--warm) ${Math.round((55 * loss) / Math.max(worst, status.lines?.lnV ?? 0))}%, transparent)`;
      return mark;
    });
    show(
      element,
      make("h3", {}, "The batch"),
      make(
        "p",
        { class: "note" },
        `Row ${row + 1} of ${rows}, ${length} tokens that had to be predicted; the stronger the colour, the more surprising (up to ${number(worst, 3)} nats).`,
      ),
      make("p", { class: "working" }, tokens),
      make(
        "div",
        { class: "row" },
        make(
          "button",
          {
            type: "button",
            "data-key": "batch-back",
            disabled: row === 0,
            onclick: () => {
              row--;
              update();
            },
          },
          "Row before",
        ),
        make(
          "button",
          {
            type: "button",
            "data-key": "batch-next",
            disabled: row === rows - 1,
            onclick: () => {
              row++;
              update();
            },
          },
          "Next row",
        ),
      ),
    );
  });

  return { element, update };
}
