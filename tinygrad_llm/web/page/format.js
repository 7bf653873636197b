// Numbers and tokens as text.

/** `x` to a few significant digits; very small and very large numbers with an exponent. */
export function number(x, digits = 4) {
  if (x === null || x === undefined) return "none";
  if (!Number.isFinite(x)) return Number.isNaN(x) ? "not a number" : x > 0 ? "∞" : "−∞";
  if (x === 0) return "0";
  const size = Math.abs(x);
  const text =
    size < 1e-3 || size >= 1e6 ? x.toExponential(Math.max(0, digits - 2)) : String(Number(x.toPrecision(digits)));
  return text.replace("-", "−").replace("e-", "e−").replace("e+", "e");
}

export const signed = (x, digits = 4) => (x > 0 ? "+" : "") + number(x, digits);
export const integer = (n) => n.toLocaleString("en-US");
export const percent = (x) => `${(100 * x).toFixed(x < 0.0995 ? 2 : 1)} %`;
export const shape = (sizes) => (sizes.length ? sizes.join(" × ") : "one number");

/** "1 token", "2 tokens". */
export const counted = (n, noun) => `${integer(n)} ${noun}${n === 1 ? "" : "s"}`;

/** The text of a token with spaces and invisible characters as visible symbols. */
export function visible(text) {
  if (text === "") return "∅";
  return text
    .replace(/ /g, "␣")
    .replace(/\n/g, "↵")
    .replace(/\t/g, "⇥")
    .replace(/[\u0000-\u001f]/g, (letter) => String.fromCharCode(0x2400 + letter.charCodeAt(0)))
    .replace(
      /[\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g,
      (letter) => `<${letter.charCodeAt(0).toString(16)}>`,
    );
}

/** A token with its position, as in `3 “the”`. */
export const named = (text, position) => `${position} “${visible(text)}”`;

/** Bytes in a unit that a reader can hold in mind. */
export function bytes(n) {
  for (const [unit, size] of [
    ["GB", 1e9],
    ["MB", 1e6],
    ["KB", 1e3],
  ])
    if (n >= size) return `${number(n / size, 3)} ${unit}`;
  return `${n} bytes`;
}
