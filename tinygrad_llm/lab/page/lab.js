// The lab as the page knows it: where training stands, its history, and the commands that change it.

import { ask, forgetAnswers, saved } from "./api.js";
import { busyUntil } from "./busy.js";
import { set, text } from "./state.js";

const PER_LAYER = ["updates", "weights"];
const listeners = new Set();
const histories = new Map(); // branch -> Map from step to record
let vocabularyAnswer = null;
let latest = {}; // of all that was said about the status, what was said last; it may come before what was said earlier
let isReturning = false; // to where the fragment says, when the page opens

/** The newest status; see `status` of the server. */
export const status = {};

/** Call `listener(what)` when the status ("status") or the records ("records") change. */
export function onLab(listener) {
  listeners.add(listener);
}

function tell(what) {
  for (const listener of listeners) listener(what);
}

export function complain(error) {
  const notice = document.getElementById("notice");
  notice.textContent = error ? (error.message ?? String(error)) : "";
  notice.hidden = !error;
}

/** Run `task(isCurrent)`; its errors are shown, unless a later run has begun. */
export function newest(task) {
  let turn = 0,
    hasFailed = false;
  return async (...args) => {
    const mine = ++turn,
      isCurrent = () => mine === turn;
    try {
      await task(isCurrent, ...args);
      if (isCurrent() && hasFailed) complain(null);
      hasFailed &&= !isCurrent();
    } catch (error) {
      hasFailed = true;
      if (isCurrent()) complain(error);
    }
  };
}

/** Before the training of an opened model begins, it has no step and no branch yet. */
function note(changes) {
  if (changes.moment >= (latest.moment ?? 0)) latest = changes;
  Object.assign(status, changes, latest);
  status.step ??= status.firstStep ?? 0;
  status.branch ??= "main";
}

const hasBegun = () => status.at !== "live";

function take(changes) {
  note(changes);
  if (status.canTrain && hasBegun() && !isReturning && !status.playing && !status.busy && status.at)
    set({ at: status.at, edits: branch()?.editsText });
  tell("status");
}

export function branch() {
  return status.branches?.find(({ name }) => name === status.branch);
}

/** The weights that a view shows: those of the fragment in a saved page or of an opened model, else where training stands. */
export function where() {
  if (!status.canTrain) return text("at") || status.at;
  return status.playing || status.busy || isReturning ? "live" : status.at;
}

/** Send a command that changes training. */
export async function command(name, body = {}) {
  complain(null);
  try {
    const answer = await ask(name, body);
    take(answer);
    return answer;
  } catch (error) {
    complain(error);
    return null;
  }
}

export const togglePlay = () => command(status.playing ? "pause" : "play");
export const goTo = (step) => command("goto", { at: `${status.branch}@${Math.max(status.firstStep ?? 0, step)}` });
export const stepBy = (count) =>
  count > 0 ? command("step", { count }) : status.step > (status.firstStep ?? 0) ? goTo(status.step + count) : null;

/** {texts, bytes} of all tokens. */
export function vocabulary() {
  vocabularyAnswer ??= ask("vocabulary").then((answer) => ({ texts: answer.texts, bytes: answer.bytes.split("|") }));
  return vocabularyAnswer;
}

// -- the history of a branch

/** Records of a branch in the order of steps: {step, trainLoss, ..., valLoss, sample}. */
export function records(name) {
  const known = histories.get(name);
  return known ? [...known.values()].sort((a, b) => a.step - b.step) : [];
}

function record(name, step) {
  if (!histories.has(name)) histories.set(name, new Map());
  const known = histories.get(name);
  if (!known.has(step)) known.set(step, { step });
  return known.get(step);
}

/** Load what happened before the events began. */
export async function loadHistory(name) {
  const answer = await ask("history", { branch: name });
  const layers = answer.updates.shape[1] ?? 0;
  for (let i = 0; i < answer.steps.length; i++) {
    const one = record(answer.branch, answer.steps.data[i]);
    for (const key of ["trainLoss", "learningRate", "gradNorm", "seconds"]) one[key] = answer[key].data[i];
    for (const key of PER_LAYER) one[key] = answer[key].data.slice(i * layers, (i + 1) * layers);
  }
  for (let i = 0; i < answer.valSteps.length; i++)
    record(answer.branch, answer.valSteps.data[i]).valLoss = answer.valLoss.data[i];
  for (const { step, text: sample } of answer.samples) record(answer.branch, step).sample = sample;
  tell("records");
}

function listen() {
  const events = new EventSource("api/events");
  let heard;
  busyUntil(new Promise((resolve) => (heard = resolve)));
  events.addEventListener("open", () => {
    complain(null);
    if (status.canTrain && hasBegun())
      for (const name of new Set([status.branch, ...(status.twin ? ["twin"] : [])])) loadHistory(name).catch(complain);
    heard();
  });
  events.addEventListener("status", (event) => take(JSON.parse(event.data)));
  events.addEventListener("records", (event) => {
    const { branch: name, records: newest } = JSON.parse(event.data);
    for (const one of newest) Object.assign(record(name, one.step), one);
    tell("records");
  });
  events.addEventListener("bye", (event) => {
    events.close();
    complain(`The lab has ended. ${JSON.parse(event.data).why ?? ""}`);
  });
  events.addEventListener("error", () => {
    heard();
    if (events.readyState === EventSource.CLOSED)
      complain("The lab does not answer: its process has ended, or the address is an old one.");
  });
}

/** Forget the curve of the twin, which begins anew. */
export function forgetTwin() {
  histories.delete("twin");
  forgetAnswers("twin");
}

/** Ask for the status, go where the fragment says, and listen to what happens. */
export async function start() {
  const wanted = text("at"),
    edits = text("edits");
  note(await ask("status"));
  if (saved) {
    status.canTrain = false;
    if (saved.answers[`history ${JSON.stringify({ branch: status.branch })}`]) await loadHistory(status.branch);
    return undefined;
  }
  listen();
  if (!status.canTrain || !wanted || wanted === status.at) return take({});
  isReturning = true; // the page is drawn meanwhile
  ask("goto", edits ? { at: wanted, edits } : { at: wanted })
    .catch((error) => (complain(error), {}))
    .then((answer) => {
      isReturning = false;
      take(answer);
    });
  return undefined;
}
