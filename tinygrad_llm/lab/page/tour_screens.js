// The screens of the tour. Each has a text whose sentences hold controls, a question with answers to choose from, and
// what the lab then measures: `answer` returns {right, content}, where `right` is the number of the right answer.

import { hunt } from "./tour_hunt.js";
import { INSIDE } from "./tour_inside.js";
import { LEARNING } from "./tour_learning.js";

export const SCREENS = [
  ...LEARNING,
  ...INSIDE,
  {
    title: "A blind hunt",
    text: () => [
      "Programs that train a model seldom stop when they are wrong. Somebody has put one classic mistake into the code of a twin, which trains on the same batches. Find it by its curve, by the checks of the fault lab, and by hints.",
    ],
    hunt,
  },
];
