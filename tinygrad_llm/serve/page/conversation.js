// A conversation as a tree. Editing a message or asking for another answer adds a version beside it; nothing is lost.

const ROLES = new Set(["user", "assistant"]);
const ENDS = new Set(["stop", "length", "stopped", "error"]);
const TITLE = 60; // characters
const ROOT = -1; // the parent of the first message

export class Conversation {
  /** `kind`: "chat", or "text" for one text that the model continues. */
  constructor(kind) {
    this.id = crypto.getRandomValues(new Uint32Array(2)).join("-");
    this.kind = kind;
    this.changed = Date.now();
    this.system = "";
    this.text = "";
    this.nodes = []; // {role, content, parent, end, numbers}
    this.chosen = {}; // parent -> the child that is shown
    this.from = 0; // the first message that is sent
  }

  get title() {
    const content = this.kind === "text" ? this.text : (this.path()[0]?.content ?? "");
    const line = content.replace(/\s+/g, " ").trim();
    return line.length > TITLE
      ? `${line.slice(0, TITLE - 1)}…`
      : line || (this.kind === "text" ? "New text" : "New chat");
  }

  get isEmpty() {
    return this.kind === "text" ? !this.text : !this.nodes.length;
  }

  /** The messages that are shown, from the first to the last. */
  path() {
    const path = [];
    for (let at = this.chosen[ROOT]; at !== undefined; at = this.chosen[at]) path.push(this.nodes[at]);
    return path;
  }

  indexOf(node) {
    return this.nodes.indexOf(node);
  }

  /** A new message after `parent`, null for the first; it becomes the chosen one. */
  add(parent, role, content) {
    const at = parent ? this.indexOf(parent) : ROOT;
    const node = { role, content, parent: at, end: "", numbers: {} };
    this.nodes.push(node);
    this.chosen[at] = this.nodes.length - 1;
    this.changed = Date.now();
    return node;
  }

  parentOf(node) {
    return this.nodes[node.parent] ?? null;
  }

  /** All versions of a message, the oldest first. */
  versions(node) {
    return this.nodes.filter(({ parent }) => parent === node.parent);
  }

  choose(node) {
    this.chosen[node.parent] = this.indexOf(node);
  }

  /** What the model reads up to and including `last`: {role, content}; the system prompt first, if it takes one. */
  messages(last, takesSystem) {
    const path = this.path(),
      sent = path.slice(this.firstSent(path), path.indexOf(last) + 1);
    const system = takesSystem && this.system.trim() ? [{ role: "system", content: this.system }] : [];
    // A question without an answer, as one that failed, is left out with it: turns alternate.
    const isAnswered = (i) => i === sent.length - 1 || sent[i + (sent[i].role === "user" ? 1 : 0)].content !== "";
    return [...system, ...sent.filter((_, i) => isAnswered(i)).map(({ role, content }) => ({ role, content }))];
  }

  /** The place in `path` of the first message that is sent. */
  firstSent(path) {
    return Math.max(0, path.indexOf(this.nodes[this.from]));
  }

  /** Leave out the oldest messages before `last` until at most `share` of the text is left; false where none can go. */
  trim(last, share) {
    const path = this.path(),
      end = path.indexOf(last);
    let first = this.firstSent(path);
    const size = () => path.slice(first, end + 1).reduce((sum, { content }) => sum + content.length, 0);
    const most = size() * share,
      began = first;
    do {
      const next = path.findIndex(({ role }, i) => i > first && role === "user");
      if (next < 0 || next > end) break;
      first = next;
    } while (size() > most);
    this.from = this.indexOf(path[first]);
    return first > began;
  }

  /** As JSON, without the probabilities of tokens, which would fill the storage. */
  saved() {
    const { id, kind, changed, system, text, chosen, from } = this;
    const nodes = this.nodes.map(({ role, content, parent, end, numbers }) => ({
      role,
      content,
      parent,
      end,
      numbers,
    }));
    return JSON.stringify({ id, kind, changed, system, text, chosen, from, nodes });
  }

  /** The conversation that `saved` wrote; null for any other text. */
  static read(text) {
    try {
      const read = Object.assign(new Conversation("chat"), JSON.parse(text));
      if (!isWhole(read)) return null;
      for (const node of read.nodes) if (node.role === "assistant") node.end ||= "error"; // the page was closed
      return read;
    } catch {
      return null;
    }
  }
}

function isWhole({ id, kind, changed, system, text, nodes, chosen, from }) {
  const isNode = (node, i) =>
    ROLES.has(node.role) &&
    typeof node.content === "string" &&
    Number.isInteger(node.parent) &&
    node.parent >= ROOT &&
    node.parent < i &&
    (node.end === "" || ENDS.has(node.end)) &&
    node.numbers !== null &&
    typeof node.numbers === "object";
  return (
    typeof id === "string" &&
    (kind === "chat" || kind === "text") &&
    Number.isFinite(changed) &&
    typeof system === "string" &&
    typeof text === "string" &&
    Number.isInteger(from) &&
    Array.isArray(nodes) &&
    nodes.every(isNode) &&
    typeof chosen === "object" &&
    Object.entries(chosen).every(([parent, child]) => nodes[child]?.parent === Number(parent))
  );
}
