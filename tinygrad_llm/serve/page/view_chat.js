// A chat: its messages, the field for the next one, and the ways on when an answer fails.

import { Composer } from "./composer.js";
import { make } from "./elements.js";
import { integer } from "./format.js";
import { Generation, runningIn } from "./generation.js";
import { MessageView } from "./message_view.js";
import { problemBox } from "./problems.js";
import { requestFields } from "./settings.js";
import { TokenPanel } from "./token_view.js";

const KEPT_SHARE = 0.5; // of the text that is sent, when the oldest messages are left out
const NEAR = 80; // pixels from the lower end of the page, within which it follows an answer

export class ChatView {
  /** `page`: model, kept(conversation), say(text), complain(text), askKey(then). */
  constructor(conversation, page) {
    Object.assign(this, { conversation, page, views: [] });
    this.panel = new TokenPanel(() => this.panel.hide());
    this.log = make("div", { class: "log", role: "log", "aria-live": "off", "aria-label": "Conversation" });
    this.empty = make("div", { class: "empty stack" });
    this.composer = new Composer({
      label: "Message",
      placeholder: page.model.has_chat ? "Write a message" : "This model has no form of a conversation",
      send: (text) => this.send(text),
      stop: () => this.stop(),
      above: [this.panel.element],
    });
    this.composer.area.disabled = this.composer.button.disabled = !page.model.has_chat;
    this.element = make("section", { class: "chat" }, this.empty, this.log, this.composer.element);
    this.rebuild();
  }

  focus() {
    this.composer.area.focus();
  }

  get running() {
    return runningIn(this.conversation);
  }

  stop() {
    this.running?.stop();
  }

  // -- what the user does

  send(text) {
    if (this.running) return false;
    const last = this.conversation.path().at(-1) ?? null;
    this.answer(this.conversation.add(last, "user", text));
    return true;
  }

  /** Ask for an answer to the user's message `question`, into `node` if it is given. */
  answer(question, node = null) {
    const { conversation, page } = this;
    const messages = conversation.messages(question, page.model.takes_system);
    node ??= conversation.add(question, "assistant", "");
    const body = { model: page.model.id, messages, ...requestFields("chat") };
    const generation = new Generation(conversation, node, "v1/chat/completions", body, () => this.changed(node));
    this.isFollowing = true;
    this.panel.hide();
    generation.run();
    page.kept(conversation);
    this.rebuild();
    this.follow();
    page.say("The model is answering.");
  }

  again(node) {
    this.answer(this.conversation.parentOf(node));
  }

  edit(node, text) {
    this.answer(this.conversation.add(this.conversation.parentOf(node), "user", text));
    this.focus();
  }

  choose(node) {
    this.conversation.choose(node);
    this.panel.hide();
    this.page.kept(this.conversation);
    this.rebuild();
  }

  /** Leave out the oldest messages, and ask once more. */
  trim(node) {
    const question = this.conversation.parentOf(node);
    if (this.conversation.trim(question, KEPT_SHARE)) this.replace(node);
    else this.page.complain("This message alone is longer than the context: edit it, and make it shorter.");
  }

  /** Ask once more in place of an answer that has failed without a text. */
  replace(node) {
    this.answer(this.conversation.parentOf(node), node.content ? null : node);
  }

  // -- what is shown

  viewOf(node) {
    return this.views.find((view) => view.node === node);
  }

  /** Draw all messages; views of messages that are still shown stay. */
  rebuild() {
    const { conversation } = this,
      path = conversation.path(),
      first = conversation.firstSent(path);
    const acts = {
      edit: (node, text) => this.edit(node, text),
      again: (node) => this.again(node),
      choose: (node) => this.choose(node),
      token: (tokens, i) => this.panel.show(tokens, i),
      hideToken: () => this.panel.hide(),
      versions: (node) => conversation.versions(node),
      running: () => this.running?.node ?? null,
    };
    const known = new Map(this.views.map((view) => [view.node, view]));
    this.views = path.map((node) => known.get(node) ?? new MessageView(node, acts));
    const elements = this.views.map(({ element }) => element);
    if (first > 0) elements.splice(first, 0, this.leftOut(first));
    const focused = this.log.contains(document.activeElement) ? document.activeElement : null;
    this.log.replaceChildren(...elements);
    if (focused?.isConnected) focused.focus({ preventScroll: true });
    this.showEmpty();
    for (const view of this.views) view.update();
    this.showProblem();
    this.showStatus();
  }

  leftOut(count) {
    return make(
      "div",
      { class: "left-out row" },
      make("span", {}, `The model does not read the ${integer(count)} messages above.`),
      make(
        "button",
        {
          type: "button",
          class: "quiet",
          "data-key": "readAll",
          onclick: () => {
            this.conversation.from = 0;
            this.page.kept(this.conversation);
            this.rebuild();
          },
        },
        "Let it read them again",
      ),
    );
  }

  showEmpty() {
    const { model } = this.page;
    this.empty.hidden = this.views.length > 0;
    if (this.empty.hidden || this.empty.firstChild) return;
    this.empty.append(
      make("h2", {}, model.has_chat ? "What do you want to ask?" : "This model has no form of a conversation."),
      make(
        "p",
        { class: "lead" },
        model.has_chat
          ? "The model sees what you write, and nothing else. Every answer shows how probable each of its tokens was."
          : "It was not trained on conversations. Begin a text instead, and it continues it.",
      ),
    );
  }

  /** A piece has arrived, or the end; drawn once per frame. */
  changed(node) {
    if (node.end) {
      this.page.kept(this.conversation);
      if (this.running === null) this.finished(node);
    }
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => {
      this.drawing = 0;
      this.viewOf(node)?.update();
      this.showStatus();
      this.follow();
    });
  }

  finished(node) {
    this.rebuild();
    this.follow();
    if (!this.element.isConnected) return;
    this.page.say(node.end === "error" ? "" : `The answer: ${node.content.slice(0, 2_000)}`);
  }

  showProblem() {
    const view = this.views.at(-1);
    for (const other of this.views) other.showProblem(null);
    if (view?.node.role !== "assistant" || this.running) return;
    const acts = {
      retry: () => this.replace(view.node),
      trim: () => this.trim(view.node),
      key: () => this.page.askKey(() => this.replace(view.node)),
    };
    view.showProblem(problemBox(view.node, this.page.model, acts));
  }

  showStatus() {
    const { model } = this.page,
      last = this.conversation.path().findLast(({ role }) => role === "assistant");
    const { prompt, made } = last?.numbers ?? {};
    this.composer.setRunning(this.running !== null);
    this.composer.status.textContent =
      prompt === undefined
        ? "Enter sends, Shift+Enter begins a new line, Escape stops."
        : `${integer(prompt + made)} of ${integer(model.context_length)} tokens of the context are used.`;
  }

  /** Keep the end of a new answer in sight, unless the reader has scrolled away from it. */
  follow() {
    if (this.isFollowing && this.element.isConnected) scrollTo({ top: document.documentElement.scrollHeight });
  }

  scrolled() {
    const { scrollHeight, clientHeight } = document.documentElement;
    this.isFollowing = scrollHeight - clientHeight - scrollY < NEAR;
  }
}
