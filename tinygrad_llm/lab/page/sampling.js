// From logits to the distribution that is sampled from: temperature, top-k, top-p, min-p, in the order of `generate`.

/** ln Σ exp(x), without overflow. */
function logSumExp(logits) {
  let largest = -Infinity;
  for (const x of logits) if (x > largest) largest = x;
  let sum = 0;
  for (const x of logits) sum += Math.exp(x - largest);
  return largest + Math.log(sum);
}

export function softmax(logits) {
  const total = logSumExp(logits);
  return Float64Array.from(logits, (x) => Math.exp(x - total));
}

/** Token ids from the most probable to the least. */
export function ranked(probabilities) {
  return Array.from(probabilities.keys()).sort((a, b) => probabilities[b] - probabilities[a] || a - b);
}

/**
 * {ids, before, after}: `ids` from the most to the least probable, the probabilities at temperature 1, and those that
 * are sampled from. Temperature 0 keeps the most probable token alone; k = 0, p = 1 and minP = 0 cut nothing.
 */
export function distribution(logits, { temperature, k, p, minP }) {
  const before = softmax(logits),
    ids = ranked(before);
  const after =
    temperature > 0
      ? softmax(Float64Array.from(logits, (x) => x / temperature))
      : before.map((_, id) => (id === ids[0] ? 1 : 0));
  const kept = new Set();
  let mass = 0;
  for (const id of k > 0 ? ids.slice(0, k) : ids) kept.add(id);
  const total = [...kept].reduce((sum, id) => sum + after[id], 0);
  for (const id of ids) {
    if (!kept.has(id)) continue;
    const share = after[id] / total; // of what top-k left over
    if ((p < 1 && mass >= p) || share < (minP * after[ids[0]]) / total) kept.delete(id);
    mass += share;
  }
  kept.add(ids[0]);
  const left = [...kept].reduce((sum, id) => sum + after[id], 0);
  return { ids, before, after: after.map((x, id) => (kept.has(id) ? x / left : 0)) };
}

/** A token drawn from probabilities with a number of [0, 1). */
export function drawn(probabilities, chance) {
  let sum = 0,
    last = 0;
  for (let id = 0; id < probabilities.length; id++) {
    if (!probabilities[id]) continue;
    sum += probabilities[id];
    last = id;
    if (chance < sum) return id;
  }
  return last;
}
