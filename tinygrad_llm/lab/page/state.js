// The state of the page, which stands behind # in the address: the same fragment brings back what was seen.

import { Delayed } from "./busy.js";

const SETTLED = 100; // milliseconds without a change until the address is written
const listeners = [];
let state = new Map();
const writing = new Delayed();

function read() {
  return new Map(new URLSearchParams(location.hash.slice(1)));
}

/** The text of a key, or `fallback`. */
export function text(key, fallback = "") {
  return state.get(key) ?? fallback;
}

/** The number of a key, or `fallback` where it is missing or none. */
export function numeric(key, fallback = 0) {
  const value = state.get(key);
  return value === undefined || value === "" || !Number.isFinite(Number(value)) ? fallback : Number(value);
}

/** The integer of a key within [0, count), or `fallback`. */
export function index(key, count, fallback = 0) {
  const value = numeric(key, fallback);
  return Number.isInteger(value) && value >= 0 && value < count ? value : Math.max(0, Math.min(fallback, count - 1));
}

/** The items of a key that are separated by commas. */
export function list(key) {
  return text(key) ? text(key).split(",") : [];
}

export function fragment() {
  return new URLSearchParams([...state]).toString();
}

/** Change keys; null and "" remove one. A change of `view` becomes an entry of the browser's history. */
export function set(changes) {
  const before = fragment(),
    view = text("view");
  for (const [key, value] of Object.entries(changes)) {
    if (value === null || value === undefined || value === "") state.delete(key);
    else state.set(key, String(value));
  }
  if (fragment() === before) return;
  writing.cancel();
  // Browsers limit how often an address may change; a slider moves more often.
  if (text("view") === view) writing.start(SETTLED, () => history.replaceState(null, "", `#${fragment()}`));
  else history.pushState(null, "", `#${fragment()}`);
  for (const listener of listeners) listener(Object.keys(changes));
}

/** Call `listener(keys)` after every change. */
export function onChange(listener) {
  listeners.push(listener);
}

/** Take over another fragment, as when the page opens. */
export function open(fragmentText) {
  history.replaceState(null, "", `#${fragmentText}`);
  state = read();
}

state = read();
for (const happening of ["hashchange", "popstate"]) {
  addEventListener(happening, () => {
    writing.cancel();
    const before = fragment();
    state = read();
    if (fragment() !== before) for (const listener of listeners) listener([...state.keys(), "view"]);
  });
}
