// Conversations that the browser keeps for this page: one entry of localStorage each, the oldest dropped first.

import { Conversation } from "./conversation.js";

const PREFIX = "tinygrad-llm.chat.";
const MOST = 100; // conversations
const MOST_CHARACTERS = 2_000_000; // of all of them; browsers allow about 5 million
const memory = new Map(); // what is shown; localStorage follows where it can

/** localStorage, or null where the browser refuses it. */
function storage() {
  try {
    return localStorage;
  } catch {
    return null;
  }
}

const ownKeys = () => Object.keys(storage() ?? {}).filter((key) => key.startsWith(PREFIX));

/** Read all conversations; what cannot be read is left where it is, and not shown. */
export function readHistory() {
  memory.clear();
  for (const key of ownKeys()) {
    const conversation = Conversation.read(storage().getItem(key));
    if (conversation && PREFIX + conversation.id === key) memory.set(conversation.id, conversation);
  }
}

/** The conversations, the newest first. */
export function conversations() {
  return [...memory.values()].sort((a, b) => b.changed - a.changed);
}

/** Keep a conversation. Returns what the user must know: "" or a sentence. */
export function keep(conversation) {
  if (conversation.isEmpty) return "";
  memory.set(conversation.id, conversation);
  const dropped = dropOldest(conversation);
  const text = conversation.saved();
  for (;;) {
    try {
      storage()?.setItem(PREFIX + conversation.id, text);
      if (!storage()) return "The browser keeps nothing for this page: conversations end with the tab.";
      return dropped ? `${dropped} of the oldest conversations made room for this one.` : "";
    } catch {
      if (!dropOne(conversation)) return "The browser's storage is full: this conversation ends with the tab.";
    }
  }
}

/** Keep the bounds; returns how many conversations were dropped. */
function dropOldest(conversation) {
  let dropped = 0;
  while (memory.size > MOST || sizeOfAll() > MOST_CHARACTERS) {
    if (!dropOne(conversation)) break;
    dropped++;
  }
  return dropped;
}

const sizeOfAll = () => ownKeys().reduce((sum, key) => sum + (storage().getItem(key)?.length ?? 0), 0);

/** Drop an entry that cannot be read, or else the oldest but for `conversation`; false where there is none. */
function dropOne(conversation) {
  const unread = ownKeys().find((key) => !memory.has(key.slice(PREFIX.length)));
  const oldest = conversations()
    .filter(({ id }) => id !== conversation.id)
    .pop();
  const id = unread?.slice(PREFIX.length) ?? oldest?.id;
  if (id === undefined) return false;
  forget(id);
  return true;
}

export function forget(id) {
  memory.delete(id);
  storage()?.removeItem(PREFIX + id);
}

/** Forget all conversations, and entries that cannot be read. */
export function forgetAll() {
  memory.clear();
  for (const key of ownKeys()) storage().removeItem(key);
}

/** Call `changed(id)` when another tab changed a conversation. */
export function onOtherTab(changed) {
  addEventListener("storage", ({ key, newValue }) => {
    if (key === null) readHistory();
    else if (!key.startsWith(PREFIX)) return;
    const id = key?.slice(PREFIX.length) ?? "";
    const conversation = newValue ? Conversation.read(newValue) : null;
    if (conversation) memory.set(id, conversation);
    else memory.delete(id);
    changed(id);
  });
}
