// The page: its frame, the controls of training, and the view that the fragment names.

import { forgetSeen, reportSeen, save, saved } from "./api.js";
import { Delayed } from "./busy.js";
import { make, show, slider } from "./elements.js";
import { bytes, integer } from "./format.js";
import { globalKeys, oneTabStop } from "./keyboard.js";
import { command, complain, branch, goTo, onLab, start, status, stepBy, togglePlay, where } from "./lab.js";
import { toggleScheme } from "./scheme.js";
import { onChange, open, set, text } from "./state.js";
import { backwardView } from "./view_backward.js";
import { compareView } from "./view_compare.js";
import { costsView } from "./view_costs.js";
import { headsView } from "./view_heads.js";
import { mergesView } from "./view_merges.js";
import { parametersView } from "./view_parameters.js";
import { promptView } from "./view_prompt.js";
import { streamView } from "./view_stream.js";
import { tourView } from "./view_tour.js";
import { trainView } from "./view_train.js";
import { weightView } from "./view_weight.js";

const LAB = {
  train: ["Train", trainView],
  prompt: ["Prompt", promptView],
  heads: ["Heads", headsView],
  backward: ["Backward", backwardView],
  weight: ["One weight", weightView],
  merges: ["Merges", mergesView],
  compare: ["Compare", compareView],
  tour: ["Tour", tourView],
};
const INSPECT = {
  prompt: ["Prompt", promptView],
  heads: ["Heads", headsView],
  stream: ["Residual stream", streamView],
  backward: ["Backward", backwardView],
  parameters: ["Parameters", parametersView],
  costs: ["Costs", costsView],
};
// What is missing where the answer to a request was left out of a saved page.
const MISSING = {
  look: "heads",
  lens: "predictions of each layer, parameters and costs",
  vocabulary: "the texts of all tokens",
  backward: "the operations of the backward pass",
  operation: "the arrays of some operations",
  history: "the loss curves",
};
const at = (id) => document.getElementById(id);
const views = saved?.kind === "inspect" ? INSPECT : LAB;
const built = new Map();

function viewName() {
  const named = text("view");
  return named in views ? named : Object.keys(views).find((name) => name !== "train" || status.canTrain || saved);
}

function current() {
  const name = viewName();
  if (!built.has(name)) built.set(name, views[name][1]());
  return built.get(name);
}

function showView() {
  const name = viewName(),
    view = current();
  forgetSeen();
  at("view").replaceChildren(view.element);
  at("view").setAttribute("aria-label", views[name][0]);
  for (const button of at("views").children) {
    if (button.dataset.key === name) button.setAttribute("aria-current", "page");
    else button.removeAttribute("aria-current");
  }
  document.title = `${views[name][0]} · ${saved?.title ?? status.title ?? "the lab"}`;
  showKeys(view);
  view.update(null);
}

function showKeys(view) {
  const key = (name) => make("kbd", {}, name);
  const played = view.play ? view.playIs : status.canTrain ? "training" : "";
  show(
    at("keys"),
    make(
      "p",
      {},
      key("Tab"),
      " moves between views, training and the view, the ",
      key("arrow keys"),
      " inside, ",
      key("Page Up"),
      " and ",
      key("Page Down"),
      " between its parts, ",
      key("t"),
      " shows a picture as a table.",
      played
        ? [" ", key("Space"), ` plays and pauses ${played}, `, key(","), " and ", key("."), " step back and forward."]
        : null,
    ),
  );
}

// -- the controls of training

const moving = new Delayed();
let transportSlider;

function buildTransport() {
  const toolbar = at("transport");
  const button = (key, name, act, attributes = {}) =>
    make("button", { type: "button", "data-key": key, onclick: act, ...attributes }, name);
  const steps = slider("Step", {
    min: 0,
    max: 1,
    value: 0,
    key: "step",
    name: integer,
    input: (step) => {
      moving.start(150, () => goTo(step));
    },
  });
  transportSlider = steps.querySelector("input");
  show(
    toolbar,
    make(
      "div",
      { class: "row" },
      button("rewind", "Rewind", () => goTo(status.firstStep ?? 0)),
      button("back", "‹", () => stepBy(-1), { "aria-label": "One step back (,)", title: "One step back (,)" }),
      button("play", "Play", togglePlay, { class: "primary", title: "Space" }),
      button("forward", "›", () => stepBy(1), { "aria-label": "One step forward (.)", title: "One step forward (.)" }),
    ),
    steps,
    make("div", { class: "row", id: "branches" }),
  );
}

function showTransport() {
  at("transport").hidden = !status.canTrain;
  if (!status.canTrain) return;
  const toolbar = at("transport"),
    play = toolbar.querySelector("[data-key=play]");
  play.textContent = status.playing ? "Pause" : "Play";
  play.setAttribute("aria-pressed", String(status.playing));
  transportSlider.min = status.firstStep ?? 0;
  transportSlider.max = Math.max(branch()?.last ?? 0, status.step, 1);
  if (document.activeElement !== transportSlider || status.playing) transportSlider.value = status.step;
  toolbar.querySelector("output").textContent =
    `${integer(status.step)} of ${integer(Math.max(branch()?.last ?? 0, status.step))}`;
  transportSlider.setAttribute("aria-valuetext", `step ${status.step}`);
  const names = status.branches?.map(({ name }) => name) ?? [];
  show(
    at("branches"),
    status.busy || status.problem ? make("span", { class: "faint" }, status.busy || status.problem) : null,
    names.length > 1
      ? make(
          "label",
          { class: "row" },
          make("span", { class: "faint" }, "branch"),
          make(
            "select",
            { "data-key": "branch", onchange: (event) => command("branch", { name: event.target.value }) },
            names.map((name) => make("option", { value: name, selected: name === status.branch }, name)),
          ),
        )
      : null,
  );
}

// -- the page

function act(kind) {
  const view = current();
  if (view.play) return view[kind]();
  if (!status.canTrain) return null;
  return { play: togglePlay, back: () => stepBy(-1), forward: () => stepBy(1) }[kind]();
}

let liveLook = 0;

/** While training plays, a view looks again, but spends only a small part of the time on it. */
async function follow() {
  if (!status.playing || performance.now() < liveLook || !current().follows) return;
  liveLook = Infinity;
  const began = performance.now();
  await current().update(["at"]);
  liveLook = performance.now() + Math.max(500, 40 * (performance.now() - began));
}

async function main() {
  if (saved && !location.hash.slice(1)) open(saved.fragment);
  show(
    at("views"),
    Object.entries(views).map(([name, [title]]) =>
      make("button", { type: "button", "data-key": name, onclick: () => set({ view: name }) }, title),
    ),
  );
  at("scheme").addEventListener("click", toggleScheme);
  at("save").addEventListener("click", async () => {
    const { bytes: size, file } = await save().catch((error) => (complain(error), {}));
    if (file) at("save").textContent = `Saved: ${file}, ${bytes(size)}`;
  });
  buildTransport();
  for (const id of ["views", "transport", "view"]) oneTabStop(at(id));
  globalKeys({ " ": () => act("play"), ",": () => act("back"), ".": () => act("forward") });
  try {
    await start();
  } catch (error) {
    return complain(error);
  }
  at("title").textContent = saved?.kind === "inspect" ? "Inside the model" : "The lab";
  at("summary").textContent = status.title;
  at("save").hidden = !status.canSave || Boolean(saved);
  if (saved?.leftOut?.length)
    complain(
      `Left out of this page, which holds at most 5 MB: ${[...new Set(saved.leftOut.map((key) => MISSING[key.split(" ")[0]] ?? key))].join("; ")}.`,
    );
  let shownAt = null,
    shownView = null;
  const renew = (keys) => {
    if (viewName() !== shownView) {
      shownView = viewName();
      return showView();
    }
    return current().update(keys);
  };
  onChange(renew);
  onLab((what) => {
    showTransport();
    current().onLab?.(what);
    if (what === "status" && status.at !== shownAt && where() === status.at) {
      shownAt = status.at;
      current().update(["at"]);
    }
    follow();
  });
  showTransport();
  renew(null);
  setInterval(reportSeen, 700);
  document.documentElement.dataset.ready = "";
  return undefined;
}

main();
