// Copying a text. navigator.clipboard exists only in secure contexts: pages of this machine, or those over https.

import { make } from "./elements.js";

const SHOWN = 1_500; // milliseconds

async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = make("textarea", { class: "unseen" });
  area.value = text;
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  if (!isCopied) throw new Error("the browser refused");
  return undefined;
}

/** A button that copies what `text()` returns, and says so. */
export function copyButton(text, label = "Copy") {
  const button = make(
    "button",
    {
      type: "button",
      class: "quiet",
      "data-key": "copy",
      onclick: async () => {
        button.textContent = await copy(text()).then(
          () => "Copied",
          () => "Not copied: the browser refused",
        );
        setTimeout(() => (button.textContent = label), SHOWN);
      },
    },
    label,
  );
  return button;
}
