// How does text become tokens? The merges of byte pair encoding, applied one rank after the other.

import { ask, saved } from "./api.js";
import { Delayed } from "./busy.js";
import { facts, heading, make, show, slider } from "./elements.js";
import { counted, integer, number, percent, visible } from "./format.js";
import { newest, status } from "./lab.js";
import { Picture } from "./picture.js";
import { numeric, set, text } from "./state.js";

const PACE = 450; // milliseconds of a merge while it plays
const NEXT = 6; // merges that are announced

const decode = (hex) => new TextDecoder().decode(Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16)));

const spaced = (hex) => hex.match(/../g).join(" ");

/** The tokens of a piece, as hexadecimal bytes, after all merges of a rank below `rank`. */
export function cut({ bytes, merges }, rank) {
  const tokens = bytes.match(/../g) ?? [];
  for (const [at, position] of merges) {
    if (at >= rank) break;
    tokens.splice(position, 2, tokens[position] + tokens[position + 1]);
  }
  return tokens;
}

/** All merges that the text uses: {rank, left, right}, in the order of their ranks. */
function mergesOf(pieces) {
  const used = new Map();
  for (const piece of pieces) {
    const tokens = piece.bytes.match(/../g) ?? [];
    for (const [rank, position] of piece.merges) {
      const [left, right] = [tokens[position], tokens[position + 1]];
      tokens.splice(position, 2, left + right);
      if (!used.has(rank)) used.set(rank, { rank, left, right, times: 0 });
      used.get(rank).times++;
    }
  }
  return [...used.values()].sort((a, b) => a.rank - b.rank);
}

export function mergesView() {
  const typing = new Delayed();
  let answer = null,
    used = [],
    timer = null,
    tokens = [];
  const pieces = new Picture({
    title: "The tokens",
    note: "Merges never cross the borders of pieces: a regular expression cuts the text into words, numbers and blanks first.",
    table: () => ({
      columns: ["token", "text", "bytes", "piece"],
      rows: tokens
        .flatMap((inside, piece) => inside.map((hex) => [visible(decode(hex)), spaced(hex), String(piece)]))
        .map((row, i) => [String(i), ...row]),
    }),
  });
  const area = make("textarea", {
    rows: 2,
    "data-key": "merge-text",
    "aria-label": "Text to cut",
    spellcheck: "false",
    readonly: Boolean(saved),
    oninput: () => {
      typing.start(250, () => set({ text: area.value }));
    },
  });
  const controls = make("div", { "data-part": "" }),
    next = make("div", { class: "panel", "data-part": "" });
  const element = make(
    "section",
    { class: "view" },
    heading(
      "How does text become tokens?",
      "Byte pair encoding begins with single bytes. Again and again it joins the pair of neighbours that was most frequent in the training text. The rank of a merge is its place in that order; move the slider, and the text is cut anew.",
    ),
    make("label", { class: "field", "data-part": "" }, make("span", {}, "Text"), area),
    controls,
    make("div", { class: "columns" }, make("div", { class: "panel" }, pieces.element), next),
  );
  const shownText = () => text("text", text("prompt", status.prompt ?? ""));
  const bounded = (at) => Math.max(answer.first, Math.min(answer.ranks, at));
  const rank = () => bounded(numeric("rank", answer.ranks));
  const go = (to) => set({ rank: bounded(to) });

  /** The rank at which the text is next cut otherwise, in a direction. */
  function neighbour(direction) {
    const after = used.map((merge) => merge.rank + 1);
    return direction > 0
      ? (after.find((at) => at > rank()) ?? answer.ranks)
      : ([answer.first, ...after].filter((at) => at < rank()).at(-1) ?? answer.first);
  }

  function stopPlaying() {
    clearInterval(timer);
    timer = null;
    if (answer) draw();
  }

  function play() {
    if (!answer) return undefined;
    if (timer) return stopPlaying();
    if (rank() >= (used.at(-1)?.rank ?? 0) + 1) go(answer.first);
    timer = setInterval(
      () => (element.isConnected && rank() < (used.at(-1)?.rank ?? 0) + 1 ? go(neighbour(1)) : stopPlaying()),
      PACE,
    );
    return draw();
  }

  function draw() {
    const at = rank();
    tokens = answer.pieces.map((piece) => cut(piece, at));
    const count = tokens.flat().length,
      size = answer.pieces.reduce((sum, piece) => sum + piece.bytes.length / 2, 0);
    show(
      controls,
      make("p", { class: "note" }, `The merges are those of ${answer.kind}.`),
      slider("Merges applied", {
        min: answer.first,
        max: answer.ranks,
        value: at,
        key: "rank",
        name: (n) => `${integer(n - answer.first)} of ${integer(answer.ranks - answer.first)}`,
        input: go,
      }),
      make(
        "div",
        { class: "row" },
        make(
          "button",
          { type: "button", "data-key": "merge-back", disabled: at === answer.first, onclick: () => go(neighbour(-1)) },
          "One merge back",
        ),
        make(
          "button",
          { type: "button", class: "primary", "data-key": "merge-play", onclick: play },
          timer ? "Pause" : "Play",
        ),
        make(
          "button",
          { type: "button", "data-key": "merge-on", disabled: at >= answer.ranks, onclick: () => go(neighbour(1)) },
          "Next merge",
        ),
      ),
    );
    const last = used.filter((merge) => merge.rank < at).at(-1),
      joined = last ? last.left + last.right : null;
    const said = last
      ? `Rank ${integer(last.rank)} was the last: “${visible(decode(last.left))}” + “${visible(decode(last.right))}” → “${visible(decode(joined))}”, ${counted(last.times, "time")} in this text.`
      : "No merge yet: every token is one byte.";
    const about = (hex, i) => () => pieces.say(`Token ${i}, “${visible(decode(hex))}”: bytes ${spaced(hex)}`);
    pieces.element.querySelector("h3").textContent = counted(count, "token");
    show(
      pieces.body,
      make(
        "div",
        { class: "tokens" },
        tokens.flat().map((hex, i) =>
          make(
            "button",
            {
              type: "button",
              class: `chip${hex === joined ? " new" : ""}`,
              "data-key": `chip:${i}`,
              onfocus: about(hex, i),
              onpointerenter: about(hex, i),
              onpointerleave: () => pieces.say(said),
            },
            visible(decode(hex)),
          ),
        ),
      ),
      facts([
        ["bytes", integer(size)],
        ["bytes per token", number(size / Math.max(1, count), 3)],
        ["length relative to bytes", percent(count / Math.max(1, size))],
      ]),
    );
    show(
      pieces.legend,
      make("span", { class: "key" }, make("span", { class: "chip new" }, "ab"), "made by the last merge"),
    );
    pieces.say(said);
    pieces.renewTable();
    const coming = used.filter((merge) => merge.rank >= at).slice(0, NEXT);
    show(
      next,
      make("h3", {}, "The next merges that this text needs"),
      coming.length
        ? make(
            "ol",
            { class: "stack" },
            coming.map((merge) =>
              make(
                "li",
                {},
                make(
                  "button",
                  { type: "button", "data-key": `merge:${merge.rank}`, onclick: () => go(merge.rank + 1) },
                  make("code", {}, `${visible(decode(merge.left))} + ${visible(decode(merge.right))}`),
                ),
                ` rank ${integer(merge.rank)}, ${counted(merge.times, "time")}`,
              ),
            ),
          )
        : make("p", { class: "note" }, "None: these are its tokens."),
    );
  }

  const renew = newest(async (isCurrent) => {
    const loaded = await ask("merges", { text: shownText() });
    if (!isCurrent()) return;
    answer = loaded;
    used = mergesOf(answer.pieces);
    draw();
  });

  return {
    element,
    playIs: "the merges",
    play,
    back: () => answer && go(neighbour(-1)),
    forward: () => answer && go(neighbour(1)),
    update(keys) {
      if (document.activeElement !== area) area.value = shownText();
      if (keys?.length === 1 && keys[0] === "rank" && answer) return draw();
      if (keys?.length === 1 && keys[0] === "at" && answer) return undefined;
      return renew();
    },
  };
}
