// Operations folded by module: a module opens and closes, an operation is chosen.

import { make } from "./elements.js";

/** Nested modules of a list of operations: {path, name, from, to, children}, where a child is a module or an operation. */
export function nest(operations) {
  const root = { path: "", name: "", children: [] },
    open = [root];
  for (const operation of operations) {
    let shared = 0;
    while (shared < operation.modules.length && open[shared + 1]?.path === operation.modules[shared]) shared++;
    open.length = shared + 1;
    for (const path of operation.modules.slice(shared)) {
      const outer = open.at(-1),
        module = {
          path,
          key: `${path}#${operation.index}`,
          name: path.startsWith(`${outer.path}.`) && outer.path ? path.slice(outer.path.length + 1) : path || "model",
          children: [],
        };
      outer.children.push(module);
      open.push(module);
    }
    open.at(-1).children.push(operation);
  }
  return root;
}

const operationsOf = (module) => module.children.flatMap((child) => (child.children ? operationsOf(child) : [child]));

/**
 * The tree as elements. `options`: opened (a Set of keys of modules), chosen (index of an operation), note(operation),
 * noteOfModule(operations), isDone(operation), toggle(key), select(index).
 */
export function tree(root, options) {
  const node = (child) => {
    if (!child.children) {
      return make(
        "button",
        {
          type: "button",
          "data-key": `op:${child.index}`,
          "data-op": child.index,
          "aria-pressed": String(child.index === options.chosen),
          class: options.isDone(child) ? "done" : undefined,
          onclick: () => options.select(child.index),
        },
        make("span", {}, `${child.index} ${child.name}`),
        make("span", { class: "right" }, options.note(child)),
      );
    }
    const isOpen = options.opened.has(child.key),
      inside = operationsOf(child);
    return make(
      "div",
      {},
      make(
        "button",
        {
          type: "button",
          class: "module",
          "data-key": `module:${child.key}`,
          "aria-expanded": String(isOpen),
          onclick: () => options.toggle(child.key),
        },
        make("span", {}, `${isOpen ? "▾" : "▸"} ${child.name}`),
        make("span", { class: "right" }, options.noteOfModule(inside)),
      ),
      isOpen ? make("div", { role: "group", "aria-label": child.name }, child.children.map(node)) : null,
    );
  };
  return make("div", { class: "tree" }, root.children.map(node));
}

/** The keys of the modules around an operation. */
export function around(root, index) {
  for (const child of root.children) {
    if (child.children && operationsOf(child).some((operation) => operation.index === index))
      return [child.key, ...around(child, index)];
  }
  return [];
}
