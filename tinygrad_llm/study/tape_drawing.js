/* Folds and zooms the drawing where it is opened by itself in a browser.
   A folded module hides its contents; the heights that nobody else uses are cut out of the whole picture. */
(() => {
  const FOLDED = 40,
    KEPT = 8,
    STEP = 1.25;
  const svg = document.documentElement,
    canvas = svg.querySelector("#canvas");
  const number = (element, name) => Number(element.getAttribute(name));
  const size = { width: number(svg, "width"), height: number(svg, "height") };
  const modules = [...canvas.querySelectorAll(".module")],
    folded = new Set();
  const rectangles = [...canvas.querySelectorAll("rect")].map((rect) => ({
    rect,
    y: number(rect, "y"),
    height: number(rect, "height"),
  }));
  const texts = [...canvas.querySelectorAll("text")].map((text) => ({ text, y: number(text, "y") }));
  const paths = [...canvas.querySelectorAll("path")].map((path) => ({
    path,
    parts: path.getAttribute("d").split(" "),
  }));
  const boxOf = new Map(rectangles.map((one) => [one.rect.parentNode, one]));
  let zoom = 1,
    cuts = [];

  const isHidden = (element) => modules.some((one) => folded.has(one) && one !== element && one.contains(element));

  /* What must stay: nodes and titles that are seen, and folded modules. */
  function occupied() {
    const ranges = [];
    for (const { rect, y, height } of rectangles) {
      const group = rect.parentNode;
      if (isHidden(group)) continue;
      const isModule = group.classList.contains("module");
      ranges.push([y - KEPT, y + (isModule ? (folded.has(group) ? FOLDED : 22) : height) + KEPT]);
    }
    return ranges.sort((a, b) => a[0] - b[0]);
  }

  /* The ranges of y inside of folded modules that nothing occupies. */
  function findCuts() {
    const kept = occupied(),
      result = [];
    for (const one of modules) {
      if (!folded.has(one) || isHidden(one)) continue;
      const { y, height } = boxOf.get(one);
      let at = y + FOLDED;
      for (const [from, to] of kept) {
        if (to <= at || from >= y + height) continue;
        if (from > at) result.push([at, from]);
        at = Math.max(at, to);
      }
      if (at < y + height) result.push([at, y + height]);
    }
    result.sort((a, b) => a[0] - b[0]);
    const joined = [];
    for (const [from, to] of result) {
      const last = joined[joined.length - 1];
      if (last && from <= last[1]) last[1] = Math.max(last[1], to);
      else joined.push([from, to]);
    }
    return joined;
  }

  const place = (y) => cuts.reduce((now, [from, to]) => now - Math.max(0, Math.min(y, to) - from), y);

  /* "M1 2 V3 C1 4 5 6 7 8 V9": every y in the path. */
  function moved(parts) {
    let isX = true;
    return parts
      .map((part) => {
        const letter = /^[A-Z]/.test(part) ? part[0] : "",
          value = Number(part.slice(letter.length));
        if (letter) isX = letter !== "V";
        const shown = isX ? value : place(value);
        isX = !isX;
        return letter + shown.toFixed(1);
      })
      .join(" ");
  }

  function draw() {
    cuts = findCuts();
    for (const { rect, y, height } of rectangles) {
      rect.setAttribute("y", place(y));
      rect.setAttribute("height", Math.max(0, place(y + height) - place(y)));
    }
    for (const { text, y } of texts) text.setAttribute("y", place(y));
    for (const { path, parts } of paths) path.setAttribute("d", moved(parts));
    for (const one of modules) {
      one.classList.toggle("folded", folded.has(one));
      one.querySelector(".title").setAttribute("aria-expanded", String(!folded.has(one)));
    }
    const height = size.height - cuts.reduce((sum, [from, to]) => sum + to - from, 0);
    svg.setAttribute("viewBox", `0 0 ${size.width} ${height}`);
    svg.setAttribute("width", size.width * zoom);
    svg.setAttribute("height", height * zoom);
  }

  function toggle(one) {
    if (!folded.delete(one)) folded.add(one);
    draw();
  }

  function zoomTo(to) {
    zoom = Math.max(0.1, Math.min(8, to));
    draw();
  }

  const acts = {
    fold: () => {
      for (const one of modules) if (one.parentNode !== canvas) folded.add(one);
      draw();
    },
    unfold: () => {
      folded.clear();
      draw();
    },
    larger: () => zoomTo(zoom * STEP),
    smaller: () => zoomTo(zoom / STEP),
  };

  function onKeyOrClick(element, act) {
    element.setAttribute("tabindex", "0");
    element.setAttribute("role", "button");
    element.addEventListener("click", act);
    element.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      act();
    });
  }

  for (const one of modules) onKeyOrClick(one.querySelector(".title"), () => toggle(one));
  for (const button of svg.querySelectorAll("[data-act]")) onKeyOrClick(button, acts[button.dataset.act]);
  svg.querySelector("#tools").removeAttribute("visibility");
  svg.addEventListener(
    "wheel",
    (event) => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      zoomTo(zoom * (event.deltaY < 0 ? STEP : 1 / STEP));
    },
    { passive: false },
  );
  svg.addEventListener("keydown", (event) => {
    if (event.key === "+") acts.larger();
    else if (event.key === "-") acts.smaller();
    else if (event.key === "0") zoomTo(1);
  });
  draw();
})();
