// Light or dark: the browser's preference until the reader chooses.

const drawings = new WeakMap(); // from an element to its functions, which live as long as it does
const drawn = new Set(); // weak references to these elements

export function isDark() {
  const chosen = document.documentElement.dataset.scheme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Call `draw` when the scheme changes, also while the element is off the page, as in a conversation not shown. */
export function onScheme(element, draw) {
  if (!drawings.has(element)) {
    drawings.set(element, []);
    drawn.add(new WeakRef(element));
  }
  drawings.get(element).push(draw);
}

/** Change to the other scheme; returns its name. */
export function toggleScheme() {
  const scheme = isDark() ? "light" : "dark";
  document.documentElement.dataset.scheme = scheme;
  schemeChanged();
  return scheme;
}

function schemeChanged() {
  for (const reference of drawn) {
    const element = reference.deref();
    if (element) for (const draw of drawings.get(element)) draw();
    else drawn.delete(reference);
  }
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", schemeChanged);
