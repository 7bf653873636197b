// Requests to the lab, and their answers: a small JSON head, and packed arrays behind it. A saved page holds its answers.

import { busyUntil } from "./busy.js";
import { messages } from "./event_stream.js";
import { fragment } from "./state.js";

const TYPES = {
  u1: Uint8Array,
  i1: Int8Array,
  u2: Uint16Array,
  i2: Int16Array,
  i4: Int32Array,
  f4: Float32Array,
  f8: Float64Array,
};
const KEPT = 60; // answers that are remembered; those about fixed weights do not change
// What a saved page may hold: requests that read. Of each, the newest stand for the screen; a comparison makes two.
const READING = new Set([
  "status",
  "vocabulary",
  "history",
  "batch",
  "look",
  "head",
  "ablate",
  "lens",
  "backward",
  "operation",
  "measure",
  "array",
  "weight",
  "merges",
  "checks",
]);
const OF_EACH = 2,
  OF_EVERY_VIEW = new Set(["status", "vocabulary", "history"]);
const CHANGING = new Set([
  "play",
  "pause",
  "step",
  "goto",
  "rate",
  "set_weight",
  "branch",
  "twin",
  "sample_every",
  "hunt",
  "guess",
  "seen",
  "save",
  "status",
  "history",
]);

const element = document.getElementById("saved");
/** What a saved page holds: fragment, leftOut, kind, title, answers; null in the living lab. */
export const saved = element ? JSON.parse(element.textContent) : null;

/** An array of an answer: numbers in C order and their shape. */
class Packed {
  constructor(data, shape, scale) {
    Object.assign(this, { data, shape, scale });
  }

  at(i) {
    return this.data[i] * this.scale;
  }

  get length() {
    return this.data.length;
  }

  /** All numbers, scaled. */
  get values() {
    return this.scale === 1 ? this.data : Float64Array.from(this.data, (x) => x * this.scale);
  }
}

/** The head of an answer, with its arrays in place. */
function unpack(buffer) {
  const size = new DataView(buffer).getUint32(4, true),
    start = 8 + size;
  const head = new TextDecoder().decode(new Uint8Array(buffer, 8, size));
  return JSON.parse(head, (_, value) => {
    if (!value?.$array) return value;
    const [offset, type, shape] = value.$array;
    const count = shape.reduce((product, n) => product * n, 1);
    return new Packed(new TYPES[type](buffer, start + offset, count), shape, value.scale ?? 1);
  });
}

/** The bytes of a saved answer: base64 of deflated bytes; after "2:", all even bytes come before the odd ones. */
async function inflate(text) {
  const isSplit = text.startsWith("2:");
  const deflated = Uint8Array.from(atob(isSplit ? text.slice(2) : text), (letter) => letter.charCodeAt(0));
  const buffer = await new Response(
    new Blob([deflated]).stream().pipeThrough(new DecompressionStream("deflate")),
  ).arrayBuffer();
  if (!isSplit) return buffer;
  const from = new Uint8Array(buffer),
    to = from.slice(),
    half = from.length >> 1;
  for (let i = 0; i < half; i++) {
    to[2 * i] = from[i];
    to[2 * i + 1] = from[half + i];
  }
  return to.buffer;
}

/** What the page tells of itself draws nothing; every other answer does. */
const fetched = (name, body) => (name === "seen" ? answerOf(name, body) : busyUntil(answerOf(name, body)));

async function answerOf(name, body) {
  if (saved) {
    // While training played, the page looked at the weights of the moment.
    const answer =
      saved.answers[`${name} ${body}`] ?? saved.answers[`${name} ${body.replace(/"at":"[^"]*"/, '"at":"live"')}`];
    if (answer === undefined) throw new Error("This part is not in the saved page.");
    return unpack(await inflate(answer));
  }
  let response;
  try {
    response = await fetch(`api/${name}`, { method: "POST", headers: { "Content-Type": "application/json" }, body });
  } catch {
    throw new Error("The lab does not answer: its process has ended, or the address is an old one.");
  }
  if (response.ok) return unpack(await response.arrayBuffer());
  const answer = await response.json().catch(() => ({}));
  throw new Error(answer.error ?? `The lab answered with status ${response.status}.`);
}

const answers = new Map();
let seen = new Map(),
  lastReport = "";

/** The answer to a request. Keys of `body` whose value is undefined are left out; the rest is sent in the given order. */
export function ask(name, body = {}) {
  const sent = JSON.stringify(body),
    key = `${name} ${sent}`;
  if (READING.has(name)) {
    seen.delete(key);
    seen.set(key, [name, sent]);
  }
  if (CHANGING.has(name) || (!saved && (body.at === "live" || body.at === "twin"))) return fetched(name, sent);
  if (!answers.has(key)) {
    const answer = fetched(name, sent);
    answers.set(key, answer);
    answer.catch(() => answers.delete(key));
    if (answers.size > KEPT) answers.delete(answers.keys().next().value);
  } else {
    const answer = answers.get(key);
    answers.delete(key);
    answers.set(key, answer); // the most recent last
  }
  return answers.get(key);
}

/** Forget the answers about weights whose name begins with `prefix`: another model has taken the name. */
export function forgetAnswers(prefix) {
  for (const key of answers.keys()) if (key.includes(`"at":"${prefix}`)) answers.delete(key);
}

/** Begin a new list of the requests that the screen stands on. */
export function forgetSeen() {
  seen = new Map([...seen].filter(([, [name]]) => OF_EVERY_VIEW.has(name)));
}

/** The requests that the screen stands on, for saving. */
function seenRequests() {
  const all = [...seen.values()];
  return all.filter(([name], i) => all.slice(i + 1).filter(([other]) => other === name).length < OF_EACH);
}

/** Save what is on the screen in the file of --save. */
export const save = () => ask("save", { fragment: fragment(), requests: seenRequests() });

/** Tell the lab what is on the screen, so that it can be saved at any moment. */
export function reportSeen() {
  if (saved) return;
  const report = { fragment: fragment(), requests: seenRequests() };
  if (JSON.stringify(report) === lastReport) return;
  lastReport = JSON.stringify(report);
  ask("seen", report).catch(() => {});
}

/** A text that arrives in pieces: calls `each` with every message until the answer ends. */
export async function stream(name, body, each, signal) {
  const response = await fetch(`api/${name}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
    signal,
  });
  if (!response.ok)
    throw new Error(
      (await response.json().catch(() => ({}))).error ?? `The lab answered with status ${response.status}.`,
    );
  for await (const message of messages(response)) each(JSON.parse(message));
}
