// What is under way: while anything is, the view is marked aria-busy, for whoever waits until it stands still.

let underWay = 0;

/** Mark the view busy until the promise settles; returns the promise. */
export function busyUntil(promise) {
  const view = document.getElementById("view");
  underWay++;
  view?.setAttribute("aria-busy", "true");
  return promise.finally(() => {
    underWay--;
    // Whoever awaits the promise comes first, and may begin something else.
    setTimeout(() => underWay === 0 && view?.removeAttribute("aria-busy"));
  });
}

/** One task that waits for its time. The view is busy until it is done, unless `isQuiet`. */
export class Delayed {
  /** Do this task after `delay` milliseconds, in the place of one that still waits. */
  start(delay, task, isQuiet = false) {
    this.cancel();
    const done = new Promise((resolve) => (this.end = resolve));
    if (!isQuiet) busyUntil(done);
    this.timer = setTimeout(() => {
      this.timer = undefined;
      task();
      this.end();
    }, delay);
  }

  get waits() {
    return this.timer !== undefined;
  }

  cancel() {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.end?.();
  }
}
