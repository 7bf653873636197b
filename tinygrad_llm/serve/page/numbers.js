// The numbers of an answer as one line: how many tokens, how fast, and the settings that repeat it.

import { counted, integer, number } from "./format.js";

const ENDS = { stopped: "stopped", length: "ended by the maximum length", error: "not finished" };

/** Tokens per second after the first; null for fewer than two. */
function speed({ made, first, seconds }) {
  return made > 1 && seconds > first ? (made - 1) / (seconds - first) : null;
}

export function numbersLine({ end, numbers }, isRunning) {
  const { made, prompt, first, seed, temperature } = numbers,
    rate = speed(numbers);
  if (isRunning && made === undefined) return "reading …";
  return [
    ENDS[end],
    made !== undefined && counted(made, "token") + (prompt === undefined ? "" : ` after ${integer(prompt)}`),
    rate !== null && `${number(rate, 3)} tokens/s`,
    first !== undefined && `the first after ${number(first, 2)} s`,
    made !== undefined && !isRunning && `temperature ${temperature}, seed ${seed}`,
  ]
    .filter(Boolean)
    .join(" · ");
}
