// The keyboard: one Tab stop per view, arrow keys between its parts, and keys that hold everywhere.

const STOPS = "button, input, select, textarea, summary, a[href], [data-stop]";
const FORWARD = new Set(["ArrowRight", "ArrowDown"]),
  BACK = new Set(["ArrowLeft", "ArrowUp"]);

const isText = (element) => element.matches("textarea, input[type=text]");

/** Whether the key means something to the control that has the focus. */
function takes(element, key) {
  if (element.matches("textarea")) return true;
  if (isText(element) || element.matches("input[type=range]")) return key === "ArrowLeft" || key === "ArrowRight";
  return element.matches("select") && (key === "ArrowUp" || key === "ArrowDown");
}

/** Make `container` one Tab stop. Arrow keys move among its controls, Page Up and Page Down among its [data-part]s. */
export function oneTabStop(container) {
  const stops = () => [...container.querySelectorAll(STOPS)].filter((one) => !one.disabled && one.checkVisibility());
  let current = null,
    shown = null; // the stop that Tab leads to, and the view that it was chosen in

  function mark() {
    const all = stops();
    if (!all.includes(current) || shown !== container.firstElementChild)
      current =
        all.find((one) => one.matches("[aria-current], [aria-pressed=true]") && one.closest("nav")) ?? all[0] ?? null;
    for (const one of container.querySelectorAll(STOPS)) {
      const wanted = one === current ? 0 : -1;
      if (one.tabIndex !== wanted || !one.hasAttribute("tabindex")) one.tabIndex = wanted;
    }
  }

  function move(event) {
    const here = event.target.closest(STOPS);
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !here) return;
    const all = stops(),
      at = all.indexOf(here);
    let next;
    if (event.key === "PageDown" || event.key === "PageUp") {
      const parts = [...container.querySelectorAll("[data-part]")].filter((part) =>
        all.some((one) => part.contains(one)),
      );
      const part = parts.findIndex((one) => one.contains(here)) + (event.key === "PageDown" ? 1 : -1);
      next = all.find((one) => parts[Math.max(0, Math.min(parts.length - 1, part))]?.contains(one));
    } else if (!takes(here, event.key)) {
      if (FORWARD.has(event.key)) next = all[at + 1];
      if (BACK.has(event.key)) next = all[at - 1];
    }
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  container.addEventListener("focusin", (event) => {
    const stop = event.target.closest(STOPS);
    if (stop && container.contains(stop)) [current, shown] = [stop, container.firstElementChild];
    mark();
  });
  container.addEventListener("keydown", move);
  new MutationObserver(mark).observe(container, {
    childList: true,
    subtree: true,
    attributes: true,
    attributeFilter: ["hidden", "disabled", "open"],
  });
  mark();
}

/** Keys that hold everywhere but in text: `keys` maps a key to what it does. */
export function globalKeys(keys) {
  document.addEventListener("keydown", (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || isText(event.target)) return;
    // A button that was reached with the keyboard keeps its own Space.
    if (
      event.key === " " &&
      event.target.matches("button, summary, select, input[type=checkbox]") &&
      event.target.matches(":focus-visible")
    )
      return;
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}
