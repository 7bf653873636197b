// Where a message is written: Enter sends, Shift and Enter begins a new line, and the button stops a running answer.

import { make } from "./elements.js";

const MOST_HEIGHT = 220; // pixels, after which the field scrolls

export class Composer {
  /** `send(text)` returns whether the text was taken; `stop()`; `above`, elements over the field. */
  constructor({ label, placeholder, send, stop, above = [] }) {
    Object.assign(this, { send, stop });
    this.area = make("textarea", {
      rows: 1,
      "data-key": "message",
      "aria-label": label,
      placeholder,
      oninput: () => this.fit(),
      onkeydown: (event) => {
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        this.submit();
      },
    });
    this.button = make("button", { type: "button", class: "primary", "data-key": "send", onclick: () => this.press() });
    this.status = make("p", { class: "status faint number" });
    this.element = make(
      "div",
      { class: "composer" },
      above,
      make("div", { class: "write" }, this.area, this.button),
      this.status,
    );
    this.setRunning(false);
  }

  press() {
    if (this.isRunning) this.stop();
    else this.submit();
    this.area.focus();
  }

  submit() {
    if (this.isRunning || !this.area.value.trim() || !this.send(this.area.value)) return;
    this.area.value = "";
    this.fit();
  }

  setRunning(isRunning) {
    this.isRunning = isRunning;
    this.button.textContent = isRunning ? "Stop" : "Send";
    this.button.title = isRunning ? "Escape" : "Enter";
  }

  fit() {
    this.area.style.height = "auto";
    this.area.style.height = `${Math.min(MOST_HEIGHT, this.area.scrollHeight + 2)}px`;
  }
}
