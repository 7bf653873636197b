// A text as blocks: prose with its line breaks, and code between ``` fences. Everything is shown as text.

import { copyButton } from "./clipboard.js";
import { make } from "./elements.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})[ \t]*([^\n`]*)$/;

/** Blocks {isCode, language, text} of a text; a fence that is still open encloses the rest. */
function blocksOf(text) {
  const blocks = [];
  let lines = [],
    fence = "",
    language = "";
  const close = () => {
    const isCode = fence !== "";
    if (isCode || lines.some((line) => line.trim())) blocks.push({ isCode, language, text: lines.join("\n") });
    lines = [];
  };
  for (const line of text.split("\n")) {
    const found = FENCE.exec(line);
    if (!found || (fence && (!found[1].startsWith(fence) || found[2].trim()))) {
      lines.push(line);
      continue;
    }
    close();
    [fence, language] = fence ? ["", ""] : [found[1], found[2].trim()];
  }
  close();
  return blocks;
}

/** An element that shows a text which grows; only the blocks that changed are touched. */
export class TextBlocks {
  constructor() {
    this.element = make("div", { class: "text" });
    this.shown = [];
  }

  show(text) {
    const blocks = blocksOf(text);
    while (this.shown.length > blocks.length) this.shown.pop().element.remove();
    blocks.forEach((block, i) => {
      const shown = this.shown[i];
      if (shown && shown.isCode === block.isCode && shown.language === block.language) {
        if (shown.node.data !== block.text) shown.node.data = block.text;
        return;
      }
      const node = document.createTextNode(block.text);
      const element = block.isCode ? codeBlock(block.language, node) : make("p", { class: "prose" }, node);
      if (shown) shown.element.replaceWith(element);
      else this.element.append(element);
      this.shown[i] = { ...block, node, element };
    });
  }
}

function codeBlock(language, node) {
  return make(
    "div",
    { class: "code-block" },
    make(
      "div",
      { class: "code-head" },
      make("span", {}, language || "code"),
      copyButton(() => node.data, "Copy code"),
    ),
    make("pre", { tabindex: "0", "aria-label": "code" }, make("code", {}, node)),
  );
}
