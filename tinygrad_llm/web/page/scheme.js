// Light or dark: the browser's preference until the reader chooses.

const listeners = new Set();

export function isDark() {
  const chosen = document.documentElement.dataset.scheme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Call `draw` when the scheme changes, as long as the element is on the page. */
export function onScheme(element, draw) {
  listeners.add({ element: new WeakRef(element), draw });
}

/** Change to the other scheme; returns its name. */
export function toggleScheme() {
  const scheme = isDark() ? "light" : "dark";
  document.documentElement.dataset.scheme = scheme;
  schemeChanged();
  return scheme;
}

function schemeChanged() {
  for (const listener of listeners) {
    const element = listener.element.deref();
    if (element?.isConnected) listener.draw();
    else listeners.delete(listener);
  }
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", schemeChanged);
