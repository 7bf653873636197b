// How large is the residual stream? The norm of each token's vector after each block, and of its gradient.

import { ask } from "./api.js";
import { Scale } from "./colours.js";
import { heading, make } from "./elements.js";
import { named, number, visible } from "./format.js";
import { HeatMap } from "./heat_map.js";
import { newest, status, where } from "./lab.js";
import { set } from "./state.js";
import { promptText } from "./view_prompt.js";

/** Both pictures, and a function that draws them for the present prompt. */
export function streamPictures() {
  const nothing = {
    rows: [""],
    columns: [""],
    value: () => null,
    square: false,
    rowsAre: "the embedding, then the stream after each block",
    columnsAre: "tokens",
  };
  const norms = new HeatMap({ ...nothing, title: "Norm of the residual stream", select: (_, token) => set({ token }) });
  const gradients = new HeatMap({
    ...nothing,
    title: "Norm of its gradient",
    empty: "no gradient: the last token predicts nothing in this text",
    select: (_, token) => set({ token }),
  });
  const update = newest(async (isCurrent) => {
    const answer = await ask("lens", { prompt: promptText(), at: where() });
    if (!isCurrent()) return;
    const { streams, tokens } = answer,
      last = tokens.length - 1;
    const shared = { rows: streams.map(({ name }) => name), columns: tokens.map(({ text }) => visible(text)) };
    const show = (picture, key, isKnown) => {
      const value = (row, column) => (isKnown(column) ? streams[row][key][column] : null);
      const all = streams.flatMap((stream) => stream[key].filter((_, i) => isKnown(i)));
      picture.show({
        ...shared,
        value,
        scale: Scale.of(all, { log: true }),
        describe: (row, column) =>
          value(row, column) === null
            ? `${shared.rows[row]}, ${named(tokens[column].text, column)}: ${picture.empty}`
            : `${shared.rows[row]}, ${named(tokens[column].text, column)}: √Σ x² over ${status.model.settings.embedding_dim} numbers = ${number(value(row, column))}${row && value(row - 1, column) ? `, ${number(value(row, column) / value(row - 1, column), 3)} times that of the row above` : ""}`,
      });
    };
    show(norms, "norms", () => true);
    show(gradients, "gradients", (column) => column < last);
  });
  return { elements: [norms.element, gradients.element], update };
}

export function streamView() {
  const pictures = streamPictures();
  return {
    element: make(
      "section",
      { class: "view" },
      heading(
        "How large is the residual stream?",
        "Each token has one vector, to which every block adds. Its norm, and that of its gradient, on logarithmic scales that hold for the whole picture.",
      ),
      pictures.elements,
    ),
    follows: true,
    update: (keys) => (keys?.length === 1 && keys[0] === "token" ? undefined : pictures.update()),
  };
}
