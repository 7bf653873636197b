// The page: its frame, the list of conversations, the settings, and the conversation that is shown.

import { setKey, takeKeyFromAddress, theModel } from "./api.js";
import { Conversation } from "./conversation.js";
import { make, show } from "./elements.js";
import { integer } from "./format.js";
import { conversations, forget, forgetAll, keep, onOtherTab, readHistory } from "./history.js";
import { runningIn } from "./generation.js";
import { toggleScheme } from "./scheme.js";
import { change, settings, showSettings } from "./settings.js";
import { ChatView } from "./view_chat.js";
import { TextView } from "./view_text.js";

const at = (id) => document.getElementById(id);
const views = new Map(); // conversation -> its view, so that an answer goes on while another conversation is shown
let model = null,
  current = null;

const page = {
  get model() {
    return model;
  },
  kept(conversation) {
    if (!views.has(conversation)) return; // it was deleted while it was being answered
    const problem = keep(conversation);
    if (problem) complain(problem);
    showList();
    if (conversation === current) showTitle();
  },
  say(text) {
    at("said").textContent = text;
  },
  complain,
  askKey,
};

/** Something the user must know, with a way on; "" takes it away. */
function complain(text, name, act) {
  const way = name && make("button", { type: "button", "data-key": "way", onclick: () => (complain(""), act()) }, name);
  const close = make(
    "button",
    { type: "button", class: "quiet", "data-key": "closeNotice", onclick: () => complain("") },
    "Close",
  );
  at("notice").hidden = !text;
  show(at("notice"), make("span", {}, text), way, close);
}

function askKey(then) {
  const field = make("input", { type: "password", autocomplete: "off", "data-key": "key", "aria-label": "Key" });
  const form = make(
    "form",
    {
      class: "row",
      onsubmit: (event) => {
        event.preventDefault();
        setKey(field.value);
        complain("");
        then();
      },
    },
    make("label", { class: "row" }, "The key of the server ", field),
    make("button", { type: "submit", "data-key": "useKey" }, "Use it"),
    make("span", { class: "faint" }, "It is kept until this tab is closed."),
  );
  at("notice").hidden = false;
  show(at("notice"), form);
  field.focus();
}

// -- the history

function showList() {
  const entry = (conversation) =>
    make(
      "li",
      { class: "entry" },
      make(
        "button",
        {
          type: "button",
          class: "open",
          "data-key": `open:${conversation.id}`,
          "aria-current": conversation === current ? "page" : null,
          onclick: () => open(conversation),
        },
        conversation.title,
        runningIn(conversation) ? make("span", { class: "faint" }, " …") : null,
      ),
      make(
        "button",
        {
          type: "button",
          class: "quiet",
          "data-key": `delete:${conversation.id}`,
          "aria-label": `Delete “${conversation.title}”`,
          title: "Delete",
          onclick: () => remove(conversation),
        },
        "×",
      ),
    );
  show(
    at("list"),
    make(
      "div",
      { class: "row" },
      model?.has_chat
        ? make(
            "button",
            { type: "button", class: "primary", "data-key": "newChat", onclick: () => begin("chat") },
            "New chat",
          )
        : null,
      make("button", { type: "button", "data-key": "newText", onclick: () => begin("text") }, "New text"),
    ),
    make("ul", {}, conversations().map(entry)),
  );
}

function remove(conversation) {
  views.delete(conversation);
  runningIn(conversation)?.stop();
  forget(conversation.id);
  if (conversation === current) begin(conversation.kind);
  else showList();
  complain(`“${conversation.title}” is deleted.`, "Undo", () => {
    keep(conversation);
    open(conversation);
  });
}

function removeAll() {
  const all = conversations();
  views.clear();
  for (const conversation of all) runningIn(conversation)?.stop();
  forgetAll();
  begin(defaultKind());
  if (!all.length) return;
  complain(`${integer(all.length)} conversations are deleted.`, "Undo", () => {
    all.forEach(keep);
    open(all[0]);
  });
}

// -- the conversation that is shown

const defaultKind = () => (model.has_chat ? "chat" : "text");

/** Begin a conversation with the system prompt of the one before. */
function begin(kind) {
  const conversation = new Conversation(kind);
  conversation.system = current?.system ?? "";
  open(conversation);
}

function open(conversation) {
  current = conversation;
  if (!views.has(conversation))
    views.set(conversation, new (conversation.kind === "chat" ? ChatView : TextView)(conversation, page));
  const view = views.get(conversation);
  at("view").replaceChildren(view.element);
  view.focus();
  toggle("list", false);
  complain("");
  history.replaceState(null, "", `#${conversation.id}`); // so that the page comes back with it
  showTitle();
  showList();
  drawSettings();
  scrollTo({ top: conversation.kind === "chat" ? document.documentElement.scrollHeight : 0 });
}

function showTitle() {
  at("title").textContent = current.title;
  at("summary").textContent = model.id;
  document.title = `${current.title} · ${model.id}`;
}

function drawSettings() {
  showSettings(at("settings"), model, current, {
    changedSystem: (system) => {
      current.system = system;
      keep(current);
    },
    forgetAll: removeAll,
  });
}

/** Show or hide the list or the settings; on a wide window the list is always there. */
function toggle(id, isOpen = !at(id).classList.contains("is-open")) {
  const hadFocus = at(id).contains(document.activeElement);
  at(id).classList.toggle("is-open", isOpen);
  if (id === "settings") at(id).hidden = !isOpen;
  at(`${id}Button`).setAttribute("aria-expanded", String(isOpen));
  if (isOpen) at(id).querySelector("button, input, textarea")?.focus();
  else if (hadFocus) at(`${id}Button`).focus();
}

// -- the beginning

function listen() {
  at("scheme").addEventListener("click", () => change({ scheme: toggleScheme() }));
  at("listButton").addEventListener("click", () => toggle("list"));
  at("settingsButton").addEventListener("click", () => toggle("settings"));
  addEventListener("scroll", () => views.get(current)?.scrolled(), { passive: true });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || event.defaultPrevented || event.isComposing) return;
    if (current && runningIn(current)) views.get(current).stop();
    else for (const id of ["list", "settings"]) toggle(id, false);
  });
  addEventListener("pagehide", () => {
    for (const conversation of views.keys()) if (runningIn(conversation)) keep(conversation);
  });
  onOtherTab((id) => {
    const newer = conversations().find((conversation) => conversation.id === id);
    if (newer && newer.id === current.id && !runningIn(current)) open(newer);
    else showList();
  });
}

async function start() {
  try {
    model = await theModel();
  } catch (error) {
    if (error.code === "unauthorized") askKey(start);
    else complain(error.message, "Try again", start);
    return;
  }
  const named = conversations().find(({ id }) => `#${id}` === location.hash);
  if (named) open(named);
  else begin(defaultKind());
}

if (settings.scheme) document.documentElement.dataset.scheme = settings.scheme;
takeKeyFromAddress();
readHistory();
listen();
start().finally(() => (document.documentElement.dataset.ready = ""));
