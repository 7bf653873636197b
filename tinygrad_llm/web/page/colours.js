// Scales: from a number to a colour, one for amounts (paper to ink) and one for signed numbers (two hues around paper).

import { isDark } from "./scheme.js";

const PALETTES = {
  light: {
    paper: [252, 251, 248],
    up: [
      [150, 180, 235],
      [30, 68, 160],
      [12, 28, 84],
    ],
    down: [
      [246, 178, 146],
      [190, 66, 22],
      [96, 24, 6],
    ],
  },
  dark: {
    paper: [16, 18, 21],
    up: [
      [38, 62, 122],
      [94, 142, 250],
      [214, 228, 255],
    ],
    down: [
      [112, 46, 20],
      [236, 124, 76],
      [255, 222, 204],
    ],
  },
};
const GAMMA = 0.5; // the colour follows the square root of a number, so that small ones are seen

function between(from, to, fraction) {
  return from.map((x, i) => x + (to[i] - x) * fraction);
}

/** The colour at `t` in [-1, 1]: paper at 0, then three shades in each direction. */
function shade(t, palette) {
  const stops = [palette.paper, ...(t < 0 ? palette.down : palette.up)];
  const at = Math.min(Math.abs(t), 1) * (stops.length - 1);
  const below = Math.min(Math.floor(at), stops.length - 2);
  return between(stops[below], stops[below + 1], at - below);
}

/** A scale from `low` to `high`. A signed one is symmetric around 0; a logarithmic one is for positive numbers. */
export class Scale {
  constructor({ low = 0, high = 1, signed = false, log = false, unit = "" }) {
    Object.assign(this, { signed, log, unit });
    this.high = signed ? Math.max(Math.abs(low), Math.abs(high)) : high;
    this.low = signed ? -this.high : low;
  }

  /** The scale of all finite numbers in `values`. */
  static of(values, options = {}) {
    let low = Infinity,
      high = -Infinity;
    for (const x of values)
      if (x !== null && Number.isFinite(x) && (x > 0 || !options.log)) {
        if (x < low) low = x;
        if (x > high) high = x;
      }
    if (low > high) low = high = options.log ? 1 : 0;
    const isSigned = options.signed ?? low < 0;
    return new Scale({
      low: isSigned || options.fromZero ? Math.min(low, 0) : low,
      high,
      ...options,
      signed: isSigned,
    });
  }

  /** Position on the scale, in [-1, 1] for a signed one and in [0, 1] otherwise. */
  position(x) {
    if (this.log) return x > this.low && this.low > 0 ? Math.log(x / this.low) / Math.log(this.high / this.low) : 0;
    const range = this.signed ? this.high : this.high - this.low;
    if (!(range > 0)) return 0;
    const linear = (this.signed ? x : x - this.low) / range;
    return Math.sign(linear) * Math.min(Math.abs(linear), 1) ** GAMMA;
  }

  /** The number at a position. */
  at(t) {
    if (this.log) return this.low > 0 ? this.low * (this.high / this.low) ** t : 0;
    const linear = Math.sign(t) * Math.abs(t) ** (1 / GAMMA);
    return this.signed ? linear * this.high : this.low + linear * (this.high - this.low);
  }

  colour(x) {
    return shade(this.position(x), isDark() ? PALETTES.dark : PALETTES.light);
  }

  /** The first position of the scale. */
  get start() {
    return this.signed ? -1 : 0;
  }

  colourAt(t) {
    return shade(t, isDark() ? PALETTES.dark : PALETTES.light);
  }
}
