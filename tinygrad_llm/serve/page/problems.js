// What went wrong with an answer, as a sentence, and the ways on.

import { make } from "./elements.js";
import { integer } from "./format.js";

const NAMES = {
  retry: "Try again",
  trim: "Leave out the oldest part and try again",
  key: "Give a key",
  reload: "Reload",
};

/** [sentence, way]: why the answer is not whole; the sentence is "" where all is well. */
function problemOf({ end, error, numbers }, { context_length: context }) {
  const isFull = numbers.prompt + numbers.made >= context;
  if (end === "length" && isFull)
    return [`The answer ends here because the context of ${integer(context)} tokens is full.`, "trim"];
  if (end !== "error") return ["", ""];
  if (!error) return ["This answer was not finished.", "retry"];
  const { code, status, message, retryAfter } = error;
  if (code === "context_length_exceeded")
    return [
      `This is more than the context of ${integer(context)} tokens. The model can read it without its oldest part.`,
      "trim",
    ];
  if (code === "model_not_found") return ["The server has another model now.", "reload"];
  if (code === "unauthorized") return ["The server asks for a key.", "key"];
  if (status === 429)
    return [
      `The server is busy with other requests. Try again in ${retryAfter > 1 ? `${retryAfter} seconds` : "a moment"}.`,
      "retry",
    ];
  if (code === "broken_off") return ["The connection ended before the answer did.", "retry"];
  if (code === "unreachable")
    return [`${message} Start it again with tinygrad-llm serve; nothing here is lost.`, "retry"];
  return [`The server says: ${message}`, "retry"];
}

/** The problem of an answer as an element; null for none. `acts`: retry(), trim(), key(). */
export function problemBox(node, model, acts) {
  const [sentence, way] = problemOf(node, model);
  if (!sentence) return null;
  const act = { ...acts, reload: () => location.reload() }[way];
  return make(
    "div",
    { class: "notice row", role: "alert" },
    make("span", {}, sentence),
    make("button", { type: "button", "data-key": `way:${way}`, onclick: act }, NAMES[way]),
  );
}
