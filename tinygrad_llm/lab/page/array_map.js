// An array of an operation as a heat-map: a window of its last two axes.

import { Scale } from "./colours.js";
import { slider } from "./elements.js";
import { number, shape } from "./format.js";
import { HeatMap } from "./heat_map.js";

const ROLES = { operand: "operand", output: "output", incoming: "incoming gradient", outgoing: "outgoing gradient" };

/**
 * The picture of one array of an operation, with sliders for the window's place. `options`: scale (null for its own),
 * element ({name, at}, which is marked), choose(text of an element), move(new corner).
 */
export function arrayMap(array, { scale, element, choose, move }) {
  const [rows, columns] = array.values.shape,
    rank = array.shape.length,
    corner = array.corner;
  const first = [rank > 1 ? corner[rank - 2] : 0, rank > 0 ? corner[rank - 1] : 0],
    lead = corner.slice(0, Math.max(0, rank - 2));
  const full = (row, column) =>
    rank === 0 ? [] : rank === 1 ? [first[1] + column] : [...lead, first[0] + row, first[1] + column];
  const { name, at } = element,
    isHere = array.name === name && at.length === rank && at.slice(0, -2).every((x, i) => x === lead[i]);
  const label = (from) => (_, i) => String(from + i);
  const canMeasure = array.role === "operand" || array.role === "output";
  const picture = new HeatMap({
    title: `${array.name}, ${ROLES[array.role] ?? array.role}`,
    note: `${shape(array.shape)}, from ${number(array.low, 3)} to ${number(array.high, 3)}${canMeasure ? ". Choose an element to measure it." : ""}`,
    rows: Array.from({ length: rows }, label(first[0])),
    columns: Array.from({ length: columns }, label(first[1])),
    rowsAre: rank > 1 ? `axis ${rank - 2}` : "all of it",
    columnsAre: `axis ${Math.max(0, rank - 1)}`,
    value: (row, column) => array.values.at(row * columns + column),
    scale: scale ?? Scale.of(array.values.data),
    square: rows > 1 || columns === 1,
    maxCell: 16,
    chosen: isHere
      ? [
          Math.max(0, Math.min(rows - 1, (at.at(-2) ?? first[0]) - first[0])),
          Math.max(0, Math.min(columns - 1, (at.at(-1) ?? first[1]) - first[1])),
        ]
      : [0, 0],
    describe: (row, column) =>
      `${array.name}[${full(row, column).join(", ")}] = ${number(array.values.at(row * columns + column), 6)}`,
    select: (row, column) => canMeasure && choose(`${array.name}:${full(row, column).join(",")}`),
  });
  const sizes = array.shape.map((size, axis) =>
    axis >= rank - 2 ? Math.max(0, size - array.values.shape[axis - rank + 2]) : size - 1,
  );
  const movers = sizes.flatMap((most, axis) =>
    most > 0
      ? [
          slider(`axis ${axis} from`, {
            min: 0,
            max: most,
            value: corner[axis],
            key: `corner:${array.name}:${axis}`,
            input: (value) => move(corner.map((x, i) => (i === axis ? value : x))),
          }),
        ]
      : [],
  );
  picture.element.append(...movers);
  return picture.element;
}
