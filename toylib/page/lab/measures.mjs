// What the page says about a model: measures, words, and the state as an address. It stands after model.mjs.

// --- measures: the rules of toylib.measures --------------------------------------------------------------

export const KINDS = ["dead", "monosemantic", "polysemantic"];
const THETA = 0.25, DEAD_BELOW = 0.05;

/** C[j * n + i]: how much of a unit feature i comes back through neuron j. */
export function contributions({n, m, task, hiddenRelu, W_in, W_out}) {
  const C = new Float64Array(m * n);
  for (const sign of task === "absolute" ? [1, -1] : [1])
    for (let i = 0; i < n; i++)
      for (let j = 0; j < m; j++) {
        let response = sign * W_in[i * m + j];
        if (hiddenRelu) response = Math.max(0, response);
        C[j * n + i] += Math.max(0, response * W_out[i * m + j]);
      }
  return C;
}

/** For each neuron, the features it has: above theta times its largest contribution. */
export function featuresOfNeurons(C, n, theta = THETA, deadBelow = DEAD_BELOW) {
  const neurons = [];
  for (let at = 0; at < C.length; at += n) {
    const row = Array.from(C.subarray(at, at + n)), largest = Math.max(...row);
    neurons.push(largest > deadBelow ? row.flatMap((c, i) => (c > theta * largest ? [i] : [])) : []);
  }
  return neurons;
}

/** Features that are active together or not at all, as [first, how many]. */
const togetherIn = units => units.flatMap(({first, size, apart}) => (apart ? Array.from({length: size}, (_, k) => [first + k, 1]) : [[first, size]]));

/** All outputs (n,) when feature i is on, at 1, with those that it always comes with: [outputs, first, how many]. */
export function probe(model, {units}, i) {
  const [first, size] = togetherIn(units).find(([from, many]) => i >= from && i < from + many);
  return [Array.from(respond(model, Array.from({length: size}, (_, k) => [first + k, 1]))), first, size];
}

/** What output k gets, before its bias and ReLU, from feature i on alone, at [k * n + i]: W^T W where h is linear. */
export function throughWeights({n, m, W_in, W_out, hiddenRelu}) {
  const through = new Float64Array(n * n), h = w => (hiddenRelu && w < 0 ? 0 : w);
  for (let k = 0; k < n; k++) for (let i = 0; i < n; i++) for (let j = 0; j < m; j++) through[k * n + i] += W_out[k * m + j] * h(W_in[i * m + j]);
  return through;
}

/**
 * How far feature i, switched on, moves its own output towards its target: a mean over the signs it has. Given
 * the units, a feature is probed as it occurs: those that are always active together are switched on together.
 */
export function gains(model, units = null) {
  const {n, b, task} = model, gain = Array(n).fill(0);
  for (const [first, size] of units ? togetherIn(units) : Array.from({length: n}, (_, i) => [i, 1])) {
    const nSigns = task === "absolute" ? 2 ** size : 1;
    for (let signs = 0; signs < nSigns; signs++) {
      const out = respond(model, Array.from({length: size}, (_, k) => [first + k, (signs >> k) & 1 ? -1 : 1]));
      for (let i = first; i < first + size; i++) gain[i] += (out[i] - Math.max(0, b[i])) / nSigns;
    }
  }
  return gain;
}

/** Share of a hidden dimension that each feature gets, |W_i|^2 / sum_j (W_i/|W_i| . W_j)^2. */
export function dimensionality({n, m, W_in: W}) {
  return Array.from({length: n}, (_, i) => {
    let own = 0, total = 0;
    for (let j = 0; j < m; j++) own += W[i * m + j] ** 2;
    if (own < 1e-12) return 0;
    for (let k = 0; k < n; k++) {
      let dot = 0;
      for (let j = 0; j < m; j++) dot += W[i * m + j] * W[k * m + j];
      total += dot * dot;
    }
    return (own * own) / total;
  });
}

/** The layer's connected parts as [features, neurons], largest first. */
export function regime(neurons, represented) {
  const parts = [];
  for (const [j, has] of neurons.entries()) {
    const features = has.filter(i => represented[i]);
    if (!features.length) continue;
    const part = {features: new Set(features), neurons: [j]};
    for (const other of parts.filter(p => features.some(i => p.features.has(i)))) {
      other.features.forEach(i => part.features.add(i));
      part.neurons.push(...other.neurons);
      parts.splice(parts.indexOf(other), 1);
    }
    parts.push(part);
  }
  return parts.map(p => [p.features.size, p.neurons.length]).sort((a, b) => b[0] - a[0] || b[1] - a[1]);
}

/** Loss if the costliest features were exact and the rest at their mean; null if features are not independent. */
export function noSuperpositionLoss({p, importance, independent}, represented) {
  if (!independent) return null;
  const cost = Array.from(importance, w => w * (p / 3 - (p * p) / 4)).sort((a, b) => b - a);
  return cost.slice(represented).reduce((a, b) => a + b, 0);
}

/** The same with as many features as the model could have if none shared. */
function withoutSuperposition({model: {task, n, m}, features}) {
  return noSuperpositionLoss(features, task === "absolute" ? Math.floor(m / 2) : Math.min(n, m));
}

/** All that the page says about a model, but its loss. */
export function measure(trainer) {
  const {model, features} = trainer;
  const gain = gains(model, features.units);
  const represented = gain.map(g => g > 0.5);
  const neurons = featuresOfNeurons(contributions(model), model.n);
  const kinds = neurons.map(has => Math.min(2, has.length));
  return {
    gain, represented, neurons, kinds, reference: withoutSuperposition(trainer),
    nRepresented: represented.filter(Boolean).length,
    counts: KINDS.map((_, kind) => kinds.filter(k => k === kind).length),
    D: model.task === "output" ? dimensionality(model) : null,
    parts: model.task === "output" ? null : regime(neurons, represented),
  };
}

// --- words -----------------------------------------------------------------------------------------------

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const percent = share => `${Number((100 * share).toFixed(1))}%`;
const short = value => (value < 1e-6 ? "under 1e-6" : value < 0.001 ? value.toExponential(1) : value < 99 ? value.toPrecision(2) : String(Math.round(value)));
const thousands = value => String(value).replace(/\B(?=(\d{3})+$)/g, ",");

const norm = v => Math.hypot(...v);
const cos = (a, b) => a.reduce((sum, x, j) => sum + x * b[j], 0) / (norm(a) * norm(b));
const armOf = ({m, W_in}, i) => Array.from(W_in.subarray(i * m, i * m + m));

/** These features in groups whose arms lie on one another, within eleven degrees. */
export function coincident(model, features) {
  const groups = [];
  for (const i of features) {
    const group = groups.find(([first]) => cos(armOf(model, first), armOf(model, i)) > 0.98);
    if (group) group.push(i);
    else groups.push([i]);
  }
  return groups;
}

/** The arrangement of the represented features, and how many share an arm; nothing where it has no name. */
export function arrangement(model, represented) {
  const arms = coincident(model, represented.flatMap((is, i) => (is ? [i] : [])));
  const largest = Math.max(0, ...arms.map(arm => arm.length));
  if (largest < 2) return shapeOf(model, arms);
  const even = arms.every(arm => arm.length === largest);
  const shape = shapeOf(model, arms) || (arms.length === 1 ? "one direction" : `${arms.length} directions`);
  return `${shape}, ${even ? ["two", "three"][largest - 2] ?? largest : `up to ${largest}`} features an arm`;
}

/** The name of the shape that the first of each group make, if it has one. */
function shapeOf(model, arms) {
  const {m} = model, vectors = arms.map(([i]) => armOf(model, i)), k = vectors.length;
  const near = (x, y) => Math.abs(x - y) < 0.2;
  const all = [];
  for (let a = 0; a < k; a++) for (let b = a + 1; b < k; b++) all.push(cos(vectors[a], vectors[b]));
  const opposite = all.filter(c => c < -0.95).length, upright = all.filter(c => near(c, 0)).length;
  if (k < 2) return "";
  if (upright === all.length) return k === 2 ? "at right angles" : "all at right angles";
  if (2 * opposite === k && opposite + upright === all.length)
    return ["", "an antipodal pair", "two antipodal pairs at right angles", "an octahedron"][k / 2] ?? "";
  if (m === 2 && k >= 3) {
    const angle = vectors.map(v => Math.atan2(v[1], v[0])).sort((a, b) => a - b);
    const gaps = angle.map((a, i) => (i ? a - angle[i - 1] : a - angle[k - 1] + 2 * Math.PI));
    const even = (2 * Math.PI) / k;
    if (gaps.every(gap => Math.abs(gap - even) < 0.25 * even)) return ["a triangle", "a square", "a pentagon", "a hexagon", "a heptagon", "an octagon"][k - 3] ?? `${k} directions evenly apart`;
  }
  if (m === 3 && k === 4 && all.every(c => near(c, -1 / 3))) return "a tetrahedron";
  return "";
}

/** "3 in 2 + 3 clean": three features in two neurons, and three features with neurons of their own. */
export function describe(parts) {
  const groups = parts.filter(([f, n]) => f !== 1 || n !== 1).map(([f, n]) => `${f} in ${n}`);
  const counted = [...new Set(groups)].map(group => {
    const count = groups.filter(g => g === group).length;
    return count > 1 ? `${count} x ${group}` : group;
  });
  const clean = parts.length - groups.length;
  return [...counted, ...(clean ? [`${clean} clean`] : [])].join(" + ") || "nothing";
}

/** Fewest of m neurons that must be shared to copy n features where one alone is active: studies/sharing.py. */
export function leastShared(n, m) {
  const excess = n - m;
  if (excess <= 0) return 0;
  for (let k = 2, half = 2; k <= m; k++) { // half is k over floor(k / 2)
    if (half - k >= excess) return k;
    half *= k % 2 ? 2 : (2 * (k + 1)) / (k + 2);
  }
  return null; // more than m neurons carry
}

/** Whether what is shared had to be: there is room if a clean neuron (two, for an absolute value) fits each. */
export function whetherNeeded({task, m}, {nRepresented: n, counts}) {
  const shared = counts[2];
  if (!shared) return "";
  if (n * (task === "absolute" ? 2 : 1) <= m) return `shared with room: ${plural(n, "feature")} could have clean neurons`;
  const least = task === "copy" ? leastShared(n, m) : null;
  if (least === null) return "shared without room for all to be clean";
  return `${least} must be shared to copy ${n} features exactly, one at a time`;
}

/** What a model holds, in a few words. */
function found(model, {nRepresented, represented, counts: [dead, clean, shared]}) {
  const held = `${nRepresented} of ${model.n}`;
  if (model.task !== "output") return `${held} represented, ${clean} clean, ${shared} shared${dead ? `, ${dead} dead` : ""}`;
  const shape = arrangement(model, represented);
  return shape ? `${held}, ${shape}` : held;
}

/** Whether there is superposition, or what is shared had to be, in a line. */
function sharing({model, state, total, given}, seen) {
  const {nRepresented} = seen, {m} = model;
  if (!total && !given) return "not trained yet";
  if (model.task === "output")
    return nRepresented > m ? `superposition: ${plural(nRepresented, "feature")} in ${plural(m, "dimension")}` : `no superposition: ${plural(nRepresented, "feature")} in ${plural(m, "dimension")}`;
  if (!seen.counts[2]) return "no neuron is shared";
  return (state.sets.startsWith("together") ? "" : whetherNeeded(model, seen)) || `${plural(seen.counts[2], "neuron")} shared`;
}

function summary(trainer, seen) {
  const {state, model, done, total} = trainer;
  const steps = total > done ? `Step ${thousands(done)} of ${thousands(state.steps)} since the last change` : `Step ${thousands(done)} of ${thousands(state.steps)}`;
  const shape = model.task === "output" ? arrangement(model, seen.represented) : "";
  let found = `${seen.nRepresented} of ${model.n} features represented`;
  if (model.task === "output") found += ` in ${plural(model.m, "dimension")}${shape ? `, ${shape}` : ""}`;
  else {
    const [dead, mono, poly] = seen.counts;
    const needed = state.sets.startsWith("together") ? "" : whetherNeeded(model, seen); // it speaks of one at a time
    found += ` by ${plural(model.m, "neuron")}: ${mono} monosemantic, ${poly} polysemantic, ${dead} dead (${describe(seen.parts)})${needed && `; ${needed}`}`;
  }
  let loss = ` Loss ${short(seen.loss)}`;
  if (seen.reference > 0) loss += `, ${short(seen.loss / seen.reference)} of the best without superposition`;
  return `${steps}. ${found}.${loss}.`;
}

// --- state and address -----------------------------------------------------------------------------------
// A page's address carries the state of its labs: #lab-1:preset=pentagon,seed=3;lab-2:preset=digons. Where the
// settings do not lead to the model that is seen, its weights follow, and the step at which it has them: w=..,at=..

export function readAddress(hash, name) {
  const own = hash.replace(/^#/, "").split(";").find(part => part.startsWith(`${name}:`));
  if (!own) return null;
  try {
    return Object.fromEntries(own.slice(name.length + 1).split(",").filter(Boolean).map(pair => pair.split("=").map(decodeURIComponent)));
  } catch {
    return null; // not what a lab has written
  }
}

/** What differs from the preset, and the preset. */
export function changesOf(state) {
  const base = complete({preset: state.preset});
  const keys = Object.keys(LIMITS).filter(key => state[key] !== base[key]);
  return Object.fromEntries([["preset", state.preset], ...keys.map(key => [key, state[key]])]);
}

/**
 * The address with this lab's part first, which is where a link leads; `beside` the settings it may hold the
 * angles, and the weights. A place that the page's contents lead to stays in front if `keepPlace`.
 */
export function writeAddress(hash, name, state, {beside = {}, keepPlace = false} = {}) {
  const parts = hash.replace(/^#/, "").split(";").filter(part => part && !part.startsWith(`${name}:`));
  const [others, places] = [true, false].map(ofLab => parts.filter(part => /^lab-\d+:/.test(part) === ofLab));
  const own = Object.entries({...changesOf(state), ...beside}).map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join(",");
  return `#${[...(keepPlace ? places : []), `${name}:${own}`, ...others].join(";")}`;
}

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const HALF = 2 ** 17;

/** Numbers as text: a character for their scale, then three for each number, exact to 2^-17 of the scale. */
export function pack(numbers) {
  const scale = clamp(Math.ceil(Math.log2(Math.max(...numbers.map(Math.abs), 2 ** -32))), [-32, 31]);
  const wholes = numbers.map(x => HALF + clamp(Math.round((x * HALF) / 2 ** scale), [1 - HALF, HALF - 1]));
  return DIGITS[scale + 32] + wholes.map(k => DIGITS[k >> 12] + DIGITS[(k >> 6) & 63] + DIGITS[k & 63]).join("");
}

/** The numbers that `pack` wrote; none where the text is something else. */
export function unpack(text) {
  const digits = Array.from(String(text), character => DIGITS.indexOf(character));
  if (digits.length % 3 !== 1 || digits.includes(-1)) return [];
  const unit = 2 ** (digits[0] - 32) / HALF;
  return Array.from({length: (digits.length - 1) / 3}, (_, k) => unit * (4096 * digits[3 * k + 1] + 64 * digits[3 * k + 2] + digits[3 * k + 3] - HALF));
}

// --- the phase diagram -----------------------------------------------------------------------------------

/** The importance, as a share of its partner's, from which on a feature of this density is stored opposite it. */
export function leastRatio(density) {
  const [densities, ratios] = BORDER, k = Math.max(1, densities.filter(p => p >= density * (1 - 1e-6)).length);
  if (k >= densities.length) return ratios.at(-1);
  const share = Math.log(densities[k - 1] / density) / Math.log(densities[k - 1] / densities[k]);
  return ratios[k - 1] * (ratios[k] / ratios[k - 1]) ** share;
}

/**
 * The pairs that a layer of independent features could make, the most worthwhile first: an extra feature opposite the
 * least important one that has a dimension, the next opposite the next. Null where there is no such theory.
 */
export function pairsOf({task, n, m, sparsity, decay, sets}) {
  if (task !== "output" || sets !== "none") return null;
  const needs = leastRatio(1 - sparsity);
  return Array.from({length: Math.max(0, Math.min(m, n - m))}, (_, k) => {
    const ratio = decay ** (2 * k + 1);
    return {extra: m + k, partner: m - 1 - k, ratio, together: ratio > needs};
  });
}

/** Where a state is on the phase diagram, in words, beside the features that its model represents. */
export function whereabouts({n, m, sparsity}, pairs, nRepresented) {
  if (!pairs) return "The theory is of the ReLU output model, with independent features.";
  const have = `the model above represents ${nRepresented}`;
  if (!pairs.length) return `There is a dimension for each feature; ${have}.`;
  const needs = leastRatio(1 - sparsity), share = r => (r < 0.095 ? r.toFixed(3) : r.toFixed(2));
  const least = needs <= 1 ? `it takes ${share(needs)} of the other's importance to be stored opposite it` : "no feature is worth storing opposite another";
  const each = pairs.map(({extra, partner, ratio, together}) => `feature ${extra} has ${share(ratio)} of feature ${partner}'s: ${together ? "together" : "left out"}`);
  const total = m + pairs.filter(({together}) => together).length;
  return `At density ${short(1 - sparsity)} ${least}; ${each.join("; ")}. So ${total} of ${n} have a place in pairs; ${have}${nRepresented > total ? ", more than pairs hold" : ""}.`;
}
