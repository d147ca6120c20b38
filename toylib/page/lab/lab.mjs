// The lab: toy models of superposition, trained in the page.
//
// This one file runs in the built page with no kernel, in JupyterLab, in VS Code and in Colab. It needs
// nothing beside the browser: no package, no network. What it computes is what toylib computes (the loss,
// the gradients, the measures; tests/test_lab.py compares them), and it computes the same bits on every
// machine: no function whose last digit is left to the browser (log, pow, cos) takes part in training, so
// that a link shows everyone the same model.
//
// Sections: settings, random numbers and features, models, training, measures, words, state and address,
// pictures, the page, hosts.

// --- settings --------------------------------------------------------------------------------------------
// The next two constants are JSON: toylib/lab/__init__.py reads them from here.

export const LIMITS = {
  "task": ["output", "copy", "absolute"],
  "n": [2, 20],
  "m": [1, 12],
  "sparsity": [0, 0.995],
  "decay": [0.5, 1],
  "seed": [0, 9999],
  "sets": ["none", "together-2", "together-3", "apart-2", "apart-3"],
  "steps": [100, 10000],
  "speed": ["slow", "medium", "fast"]
};

export const PRESETS = {
  "pentagon": {
    "title": "Pentagon: five features in a plane",
    "watch": "Five sparse features in two dimensions. Watch them spread until they are evenly apart.",
    "state": {"task": "output", "n": 5, "m": 2, "sparsity": 0.9, "decay": 0.9, "seed": 3}
  },
  "two-features": {
    "title": "Dense: two features, and no more",
    "watch": "The same model on features that are always active. The two most important ones get a dimension each; the others shrink to nothing.",
    "state": {"task": "output", "n": 5, "m": 2, "sparsity": 0, "decay": 0.9}
  },
  "digons": {
    "title": "In between: two antipodal pairs",
    "watch": "At 80% sparsity four of the five features fit, as two pairs of opposites at right angles.",
    "state": {"task": "output", "n": 5, "m": 2, "sparsity": 0.8, "decay": 0.9}
  },
  "solid": {
    "title": "Three dimensions: a solid",
    "watch": "Six equally important features in three dimensions. Turn the picture: which solid do they span?",
    "state": {"task": "output", "n": 6, "m": 3, "sparsity": 0.9, "decay": 1}
  },
  "together": {
    "title": "Features that come together",
    "watch": "Three pairs; the members of a pair are always active together. The members of two pairs stand side by side, well apart; there is no room for the third pair, which collapses into one direction.",
    "state": {"task": "output", "n": 6, "m": 2, "sparsity": 0.9, "decay": 1, "sets": "together-2", "seed": 1}
  },
  "apart": {
    "title": "Features that exclude each other",
    "watch": "Two pairs; only one member of a pair is active at a time. Opposite directions suit them: they never meet.",
    "state": {"task": "output", "n": 4, "m": 2, "sparsity": 0.75, "decay": 1, "sets": "apart-2"}
  },
  "clean-neurons": {
    "title": "Third model, 50% sparse: every neuron is clean",
    "watch": "Ten features, five neurons. The five most important features get a neuron each.",
    "state": {"task": "copy", "n": 10, "m": 5, "sparsity": 0.5, "decay": 0.75}
  },
  "both-kinds": {
    "title": "Third model, 75% sparse: clean and shared side by side",
    "watch": "Three neurons keep one feature each; the other two hold three features between them, as a binary code.",
    "state": {"task": "copy", "n": 10, "m": 5, "sparsity": 0.75, "decay": 0.75, "seed": 1}
  },
  "shared-neurons": {
    "title": "Third model, 93% sparse: every neuron is shared",
    "watch": "No neuron keeps a feature to itself: eight features in five neurons.",
    "state": {"task": "copy", "n": 10, "m": 5, "sparsity": 0.93, "decay": 0.75, "steps": 4000, "seed": 11}
  },
  "absolute-pairs": {
    "title": "Absolute value: a pair of neurons for each feature",
    "watch": "The model must compute |x|. Each feature takes two neurons, one for its positive values and one for its negative ones.",
    "state": {"task": "absolute", "n": 3, "m": 6, "sparsity": 0, "decay": 1, "seed": 18}
  },
  "absolute-shared": {
    "title": "Absolute value: twenty features, ten neurons",
    "watch": "Exact pairs would serve five features. Where features are sparse, many more are computed, by shared neurons.",
    "state": {"task": "absolute", "n": 20, "m": 10, "sparsity": 0.95, "decay": 0.8, "seed": 6}
  }
};

const DEFAULTS = {task: "output", n: 5, m: 2, sparsity: 0.9, decay: 0.9, seed: 0, sets: "none", steps: 2000, speed: "medium"};

const clamp = (value, [low, high]) => Math.min(high, Math.max(low, value));

/** A complete and possible state: the preset's, with `changes` on top; what cannot be is brought into range. */
export function complete(changes = {}) {
  const preset = Object.hasOwn(PRESETS, changes.preset) ? changes.preset : "pentagon";
  const state = {...DEFAULTS, ...PRESETS[preset].state, preset};
  for (const [key, value] of Object.entries(changes)) {
    if (!Object.hasOwn(LIMITS, key)) continue;
    if (typeof LIMITS[key][0] === "string") {
      if (LIMITS[key].includes(value)) state[key] = value;
    } else if (value !== "" && Number.isFinite(Number(value))) {
      state[key] = Number(value);
    }
  }
  for (const key of ["n", "m", "seed", "steps"]) state[key] = Math.round(clamp(state[key], LIMITS[key]));
  state.decay = clamp(state.decay, LIMITS.decay);
  if (state.task === "output") state.m = clamp(state.m, [2, 3]); // what can be drawn
  state.sparsity = clamp(state.sparsity, [lowestSparsity(state), LIMITS.sparsity[1]]);
  return state;
}

const setSize = state => (state.sets === "none" ? 1 : Number(state.sets.split("-")[1]));
/** Features that exclude each other cannot all be active most of the time. */
const lowestSparsity = state => (state.sets.startsWith("apart") ? 1 - 1 / setSize(state) : 0);

/** How each task is trained: the settings of the book's chapters. */
export function recipe(state) {
  const p = 1 - state.sparsity;
  if (state.task === "output") return {lr: 0.02, batch: 256, revival: 0, outputScale: 1, bias: 0};
  if (state.task === "copy") return {lr: 0.03, batch: 128, revival: 0, outputScale: 1, bias: 0};
  return {lr: 0.05, batch: 256, revival: p < 0.3 ? 1 : 0, outputScale: 0.05, bias: p / 2};
}

// --- random numbers and features -------------------------------------------------------------------------

/** Uniform random numbers in [0, 1): sfc32 of C. Doty-Humphrey's PractRand, seeded by two whole numbers. */
export class Random {
  constructor(seed, purpose = 0) {
    [this.a, this.b, this.c, this.d] = [seed | 0, purpose | 0, 0x9e3779b9 | 0, 1];
    for (let k = 0; k < 16; k++) this.next();
  }
  next() {
    const t = (((this.a + this.b) | 0) + this.d) | 0;
    this.d = (this.d + 1) | 0;
    this.a = this.b ^ (this.b >>> 9);
    this.b = (this.c + (this.c << 3)) | 0;
    this.c = (((this.c << 21) | (this.c >>> 11)) + t) | 0;
    return (t >>> 0) * 2 ** -32;
  }
  /** Close to standard normal: the sum of twelve uniforms, less six. No logarithm, so the same everywhere. */
  normal() {
    let sum = -6;
    for (let k = 0; k < 12; k++) sum += this.next();
    return sum;
  }
}

const TRAINING = 1, HELD_OUT = 2, WEIGHTS = 3;

/** The distribution of the inputs, as toylib.features.SparseFeatures: units that are drawn together. */
export function makeFeatures({n, sparsity, decay, sets, task}) {
  const p = 1 - sparsity;
  const size = setSize({sets});
  const apart = sets.startsWith("apart");
  const units = [];
  for (let i = 0; i < n; ) {
    const members = i + size <= n ? size : 1;
    const exclusive = apart && members > 1;
    // a line: one member is active at most
    units.push({first: i, size: members, apart: exclusive, line: exclusive || members === 1, q: Math.min(1, exclusive ? p * members : p)});
    i += members;
  }
  const importance = new Float64Array(n);
  for (let i = 0, value = 1; i < n; i++, value *= decay) importance[i] = value;
  // the first active unit, given that there is one: inputs with none are counted, not drawn
  let none = 1;
  const cdf = units.map(unit => 1 - (none *= 1 - unit.q)).map(share => share / (1 - none));
  return {n, p, units, importance, signed: task === "absolute", empty: none, cdf, independent: size === 1, strata: strataOf(units, n)};
}

/** Probabilities that feature i is active alone, and that some are, not one alone (the rest); and how to draw the rest. */
function strataOf(units, n) {
  const any = units.reduceRight((later, {q}) => [q + (1 - q) * later[0], ...later], [0]); // from a unit on
  const alone = new Float64Array(n), sums = [];
  let before = 1, rest = 0;
  units.forEach(({first, size, line, q}, u) => {
    const after = units.slice(u + 1).reduce((none, later) => none * (1 - later.q), 1);
    if (line) alone.fill((before * q * after) / size, first, first + size);
    rest += before * q * (line ? any[u + 1] : 1);
    sums.push(rest);
    before *= 1 - q;
  });
  return {alone, rest, cdf: sums.map(sum => sum / rest), any};
}

/**
 * Which inputs are drawn, and what counts for which share of those that are not empty: as toylib.engines.strata.
 * Inputs with one active feature are integrated where that pays ("auto"), always ("strata") or never ("sampled").
 */
export function sharesOf({strata, cdf, empty, signed}, batch, data = "auto") {
  const {alone, rest} = strata, active = 1 - empty, emptyWeight = empty / active;
  const share = rest / active, nLines = alone.filter(p => p > 0).length * (signed ? 2 : 1);
  const pays = rest > 0 && share * share * (1 + nLines / batch) < 1;
  if (data === "sampled" || (data === "auto" && !pays)) return {given: {cdf}, emptyWeight, sampled: 1, lines: null};
  return {given: strata, emptyWeight, sampled: share, lines: alone.map(p => p / active / (signed ? 2 : 1))};
}

/** Inputs in sparse form: input b has the active features index[start[b]] ... with their values. */
export function makeBatch(size, n) {
  return {size, start: new Int32Array(size + 1), index: new Int32Array(size * n), value: new Float64Array(size * n)};
}

/**
 * Fill the batch with inputs that have an active feature; one uniform says whether and how much.
 * Given `any`, one feature is not active alone: where the first unit is a line, a second one must follow.
 */
export function draw({units, cdf: active, signed}, random, batch, {cdf, any} = {cdf: active}) {
  const last = units.length - 1;
  const {start, index, value} = batch;
  let k = 0;
  for (let b = 0; b < batch.size; b++) {
    start[b] = k;
    let u = random.next(), first = 0, second = -1;
    while (first < last && u >= cdf[first]) first++;
    if (any && units[first].line) {
      u = random.next();
      for (second = first + 1; second < last; second++) {
        const now = units[second].q / any[second];
        if (u < now) break;
        u = (u - now) / (1 - now);
      }
    }
    for (let c = first; c <= last; c++) {
      if (first < c && c < second) continue;
      const unit = units[c];
      u = random.next();
      if (c > first && c !== second) {
        if (u >= unit.q) continue;
        u /= unit.q;
      }
      if (unit.apart) {
        u *= unit.size;
        const chosen = Math.min(Math.floor(u), unit.size - 1);
        index[k] = unit.first + chosen;
        value[k++] = signed ? 2 * (u - chosen) - 1 : u - chosen;
      } else {
        for (let member = 0; member < unit.size; member++) {
          if (member > 0) u = random.next();
          index[k] = unit.first + member;
          value[k++] = signed ? 2 * u - 1 : u;
        }
      }
    }
  }
  start[batch.size] = k;
}

// --- models ----------------------------------------------------------------------------------------------
// Weights are stored feature by feature: feature i and neuron j meet at [i * m + j], in W_in and in W_out.
// A tied model has one array for both.

export function makeModel({task, n, m}) {
  const tied = task !== "absolute";
  const W_in = new Float64Array(n * m);
  const W_out = tied ? W_in : new Float64Array(n * m);
  return {task, n, m, tied, hiddenRelu: task !== "output", W_in, W_out, b: new Float64Array(n)};
}

/** Xavier-normal weights from the seed alone, as toylib's models have them. */
export function initialise(model, seed, {outputScale, bias}) {
  const random = new Random(seed, WEIGHTS);
  const std = Math.sqrt(2 / (model.n + model.m));
  for (let k = 0; k < model.W_in.length; k++) model.W_in[k] = std * random.normal();
  if (!model.tied) for (let k = 0; k < model.W_out.length; k++) model.W_out[k] = std * random.normal() * outputScale;
  model.b.fill(bias);
}

export function makeGradients(model) {
  const W_in = new Float64Array(model.W_in.length);
  const {n, m} = model;
  return {
    W_in, W_out: model.tied ? W_in : new Float64Array(W_in.length), b: new Float64Array(n),
    h: new Float64Array(m), grad_h: new Float64Array(m), y: new Float64Array(n), // room to work in
  };
}

/**
 * The loss, mean over inputs of sum_i I_i (y_i - y'_i)^2, and its gradients into `gradients`.
 * emptyWeight counts the empty input's loss that many times; revival is the slope that shut outputs get, in
 * the gradient alone. `sampled` is the share that the inputs stand for, `lines` (n,) the weights of the lines
 * that are integrated. The same as toylib.engines.gradients; absent features cost nothing.
 */
export function lossAndGradients(model, batch, importance, gradients, {emptyWeight = 0, revival = 0, sampled = 1, lines = null} = {}) {
  const {n, m, W_in, W_out, b, hiddenRelu} = model;
  const {start, index, value, size} = batch;
  const {W_in: grad_in, W_out: grad_out, b: grad_b, h, grad_h, y} = gradients;
  const absolute = model.task === "absolute", scale = sampled / size;
  grad_in.fill(0);
  grad_out.fill(0);
  grad_b.fill(0);
  let loss = 0;
  for (let s = 0; s < size; s++) {
    const from = start[s], to = start[s + 1];
    for (let j = 0; j < m; j++) h[j] = grad_h[j] = 0;
    for (let k = from; k < to; k++) {
      const x = value[k], row = index[k] * m;
      y[index[k]] = absolute ? Math.abs(x) : x;
      for (let j = 0; j < m; j++) h[j] += W_in[row + j] * x;
    }
    if (hiddenRelu) for (let j = 0; j < m; j++) if (h[j] < 0) h[j] = 0;
    for (let i = 0, row = 0; i < n; i++, row += m) {
      let o = b[i];
      for (let j = 0; j < m; j++) o += W_out[row + j] * h[j];
      const open = o > 0;
      if (!open && y[i] === 0) continue;
      const residual = (open ? o : 0) - y[i], weighted = importance[i] * residual;
      loss += weighted * residual;
      const g = open ? 2 * scale * weighted : 2 * scale * weighted * revival;
      if (g === 0) continue;
      grad_b[i] += g;
      for (let j = 0; j < m; j++) {
        grad_out[row + j] += g * h[j];
        grad_h[j] += g * W_out[row + j];
      }
    }
    if (hiddenRelu) for (let j = 0; j < m; j++) if (h[j] <= 0) grad_h[j] = 0;
    for (let k = from; k < to; k++) {
      const x = value[k], row = index[k] * m;
      y[index[k]] = 0;
      for (let j = 0; j < m; j++) grad_in[row + j] += grad_h[j] * x;
    }
  }
  loss *= scale;
  for (let i = 0; i < n; i++) {
    const rest = b[i] > 0 ? b[i] : 0;
    loss += emptyWeight * importance[i] * rest * rest;
    grad_b[i] += 2 * emptyWeight * importance[i] * rest;
  }
  return lines ? loss + alongLines(model, lines, importance, gradients, revival) : loss;
}

/**
 * The loss along lines, and its gradients on top of `gradients`: inputs v e_i, and -v e_i of signed features,
 * v uniform on [0, 1]. Output k is ReLU(a v + b_k), and all means over v are integrals of powers of v over the
 * part where it is open, from `low` to `high`. As toylib.engines.arithmetic.along_line.
 */
function alongLines(model, lines, importance, {W_in: grad_in, W_out: grad_out, b: grad_b, h, grad_h}, revival) {
  const {n, m, W_in, W_out, b, hiddenRelu} = model, signs = model.task === "absolute" ? [1, -1] : [1];
  let loss = 0;
  for (const sign of signs) for (let i = 0; i < n; i++) {
    if (lines[i] === 0) continue;
    for (let j = 0; j < m; j++) {
      const z = sign * W_in[i * m + j];
      h[j] = hiddenRelu && z < 0 ? 0 : z;
      grad_h[j] = 0;
    }
    for (let k = 0, row = 0; k < n; k++, row += m) {
      let a = 0;
      for (let j = 0; j < m; j++) a += W_out[row + j] * h[j];
      const t = k === i ? 1 : 0, c = a - t, weight = lines[i] * importance[k];
      const end = Math.min(1, Math.max(0, -b[k] / a)); // a = 0 has none, and needs none
      const low = a > 0 ? end : 0, high = a > 0 ? 1 : a < 0 ? end : b[k] > 0 ? 1 : 0;
      if (low === high && t === 0) continue;
      const m0 = high - low, m1 = (high * high - low * low) / 2, m2 = (high * high * high - low * low * low) / 3;
      const byA = c * m2 + b[k] * m1, byB = c * m1 + b[k] * m0; // t v is the residual where it is shut
      loss += weight * (c * byA + b[k] * byB + t * (1 / 3 - m2));
      const g = 2 * weight * (byA - revival * t * (1 / 3 - m2));
      grad_b[k] += 2 * weight * (byB - revival * t * (1 / 2 - m1));
      for (let j = 0; j < m; j++) {
        grad_out[row + j] += g * h[j];
        grad_h[j] += g * W_out[row + j];
      }
    }
    for (let j = 0; j < m; j++) if (!hiddenRelu || h[j] > 0) grad_in[i * m + j] += sign * grad_h[j];
  }
  return loss;
}

/** The model's output (n,) at the input that has `x` at feature `i` and nothing else. */
function respond(model, i, x) {
  const {n, m, W_in, W_out, b} = model;
  const out = Float64Array.from(b);
  for (let j = 0; j < m; j++) {
    let h = W_in[i * m + j] * x;
    if (model.hiddenRelu && h < 0) h = 0;
    if (h) for (let k = 0; k < n; k++) out[k] += W_out[k * m + j] * h;
  }
  return out.map(o => (o > 0 ? o : 0));
}

// --- training --------------------------------------------------------------------------------------------

/** cos(pi t) for t in [0, 1] by its series, which no browser computes in its own way. */
function cosine(t) {
  const mirrored = t > 0.5, x = Math.PI * (mirrored ? 1 - t : t);
  let term = 1, sum = 1;
  for (let k = 2; k <= 24; k += 2) sum += term *= -(x * x) / (k * (k - 1));
  return mirrored ? -sum : sum;
}

/** A model, its data and its optimiser (Adam along a cosine to 0, as toylib.training.train). */
export class Trainer {
  constructor(state) {
    this.random = new Random(state.seed, TRAINING);
    this.model = makeModel(state);
    initialise(this.model, state.seed, recipe(state));
    this.gradients = makeGradients(this.model);
    const room = array => [new Float64Array(array.length), new Float64Array(array.length)];
    this.moments = {W_in: room(this.model.W_in), W_out: room(this.model.W_out), b: room(this.model.b)};
    this.total = 0;
    this.history = []; // [step, mean loss since the record before]
    this.turns = []; // steps at which the settings changed
    this.aim(state);
  }

  /** Begin a schedule with these settings, from the weights there are. */
  aim(state) {
    this.state = state;
    this.recipe = recipe(state);
    this.features = makeFeatures(state);
    if (this.batch?.size !== this.recipe.batch) this.batch = makeBatch(this.recipe.batch, state.n);
    this.shares = sharesOf(this.features, this.recipe.batch);
    for (const [mean, square] of Object.values(this.moments)) {
      mean.fill(0);
      square.fill(0);
    }
    if (this.total) this.turns.push(this.total);
    this.powers = [1, 1];
    this.done = 0;
    this.sum = this.counted = 0;
  }

  get finished() {
    return this.done >= this.state.steps;
  }

  step() {
    const {recipe, model, gradients, state} = this;
    const lr = recipe.lr * 0.5 * (1 + cosine(this.done / state.steps));
    draw(this.features, this.random, this.batch, this.shares.given);
    const loss = lossAndGradients(model, this.batch, this.features.importance, gradients, {
      ...this.shares, revival: recipe.revival * Math.max(0, 1 - (2 * this.done) / state.steps),
    });
    this.powers[0] *= 0.9;
    this.powers[1] *= 0.999;
    for (const name of model.tied ? ["W_in", "b"] : ["W_in", "W_out", "b"]) this.adam(model[name], gradients[name], this.moments[name], lr);
    this.done++;
    this.total++;
    this.sum += loss * (1 - this.features.empty);
    this.counted++;
    if (this.counted >= 10 || this.finished) {
      this.history.push([this.total, this.sum / this.counted]);
      this.sum = this.counted = 0;
    }
    return loss;
  }

  adam(weights, gradient, [mean, square], lr) {
    const rate = lr / (1 - this.powers[0]), correction = 1 / (1 - this.powers[1]);
    for (let k = 0; k < weights.length; k++) {
      const g = gradient[k];
      mean[k] += 0.1 * (g - mean[k]);
      square[k] += 0.001 * (g * g - square[k]);
      weights[k] -= (rate * mean[k]) / (Math.sqrt(square[k] * correction) + 1e-10);
    }
  }

  /** Loss on held-out inputs, the same for every model of these settings; in strata wherever there are any. */
  evaluate(samples = 4096) {
    const {features, model} = this, batch = makeBatch(samples, model.n);
    const shares = sharesOf(features, samples, features.strata.rest > 0 ? "strata" : "sampled");
    draw(features, new Random(0, HELD_OUT), batch, shares.given);
    return lossAndGradients(model, batch, features.importance, makeGradients(model), shares) * (1 - features.empty);
  }
}

/** Train one model to the end of its schedule. */
export function train(state) {
  const trainer = new Trainer(complete(state));
  while (!trainer.finished) trainer.step();
  return trainer;
}

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

/** How far feature i, switched on, moves its own output towards its target. */
export function gains(model) {
  const rest = model.b.map(b => Math.max(0, b));
  return Array.from({length: model.n}, (_, i) => {
    const moved = respond(model, i, 1)[i] - rest[i];
    return model.task === "absolute" ? (moved + respond(model, i, -1)[i] - rest[i]) / 2 : moved;
  });
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

/** All that the page says about a model. */
export function measure(trainer) {
  const {model, features} = trainer;
  const gain = gains(model);
  const represented = gain.map(g => g > 0.5);
  const neurons = featuresOfNeurons(contributions(model), model.n);
  const kinds = neurons.map(has => Math.min(2, has.length));
  const reference = noSuperpositionLoss(features, model.task === "absolute" ? Math.floor(model.m / 2) : Math.min(model.n, model.m));
  return {
    gain, represented, neurons, kinds, reference,
    nRepresented: represented.filter(Boolean).length,
    counts: KINDS.map((_, kind) => kinds.filter(k => k === kind).length),
    D: model.task === "output" ? dimensionality(model) : null,
    parts: model.task === "output" ? null : regime(neurons, represented),
    loss: trainer.history.length ? trainer.history.at(-1)[1] : null,
  };
}

// --- words -----------------------------------------------------------------------------------------------

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
const percent = share => `${Number((100 * share).toFixed(1))}%`;
const short = value => (value === 0 ? "0" : value < 0.001 ? value.toExponential(1) : String(Number(value.toPrecision(3))));
const thousands = value => String(value).replace(/\B(?=(\d{3})+$)/g, ",");

/** The name of the arrangement of the represented features, if it has one. */
export function arrangement(model, represented) {
  const {m, W_in: W} = model;
  const vectors = represented.flatMap((is, i) => (is ? [Array.from(W.subarray(i * m, i * m + m))] : []));
  const k = vectors.length;
  const norm = v => Math.hypot(...v);
  const cos = (a, b) => a.reduce((sum, x, j) => sum + x * b[j], 0) / (norm(a) * norm(b));
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

function summary(trainer, seen) {
  const {state, model, done, total} = trainer;
  const steps = total > done ? `Step ${thousands(done)} of ${thousands(state.steps)} since the last change` : `Step ${thousands(done)} of ${thousands(state.steps)}`;
  const shape = model.task === "output" ? arrangement(model, seen.represented) : "";
  let found = `${seen.nRepresented} of ${model.n} features represented`;
  if (model.task === "output") found += ` in ${model.m} dimensions${shape ? `, ${shape}` : ""}`;
  else {
    const [dead, mono, poly] = seen.counts;
    const needed = whetherNeeded(model, seen);
    found += ` by ${plural(model.m, "neuron")}: ${mono} monosemantic, ${poly} polysemantic, ${dead} dead (${describe(seen.parts)})${needed && `; ${needed}`}`;
  }
  let loss = seen.loss === null ? "" : ` Loss ${short(seen.loss)}`;
  if (loss && seen.reference > 0) loss += `, ${short(seen.loss / seen.reference)} of the best without superposition`;
  return `${steps}. ${found}.${loss && `${loss}.`}`;
}

// --- state and address -----------------------------------------------------------------------------------
// A page's address carries the state of its labs: #lab-1:preset=pentagon,seed=3;lab-2:preset=digons

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

export function writeAddress(hash, name, state) {
  const others = hash.replace(/^#/, "").split(";").filter(part => /^lab-\d+:/.test(part) && !part.startsWith(`${name}:`));
  const own = Object.entries(changesOf(state)).map(([key, value]) => `${key}=${encodeURIComponent(value)}`).join(",");
  return `#${[...others, `${name}:${own}`].sort().join(";")}`;
}

// --- pictures --------------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";
const VIRIDIS = ["440154", "482878", "3e4989", "31688e", "26828e", "1f9e89", "35b779", "6ece58", "b5de2b"].map(hex => [0, 2, 4].map(at => parseInt(hex.slice(at, at + 2), 16)));

/** A feature's colour, from the most important (dark on light, light on dark) on, and the ink to write on it. */
function featureColour(i, n, dark) {
  const share = n > 1 ? i / (n - 1) : 0, at = (dark ? 1 - 0.72 * share : 0.88 * share) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(at), VIRIDIS.length - 2);
  const rgb = VIRIDIS[low].map((c, k) => Math.round(c + (at - low) * (VIRIDIS[low + 1][k] - c)));
  return {fill: `rgb(${rgb})`, ink: 0.3 * rgb[0] + 0.59 * rgb[1] + 0.11 * rgb[2] > 125 ? "#111" : "#fff"};
}

/** Set attributes of the k-th child of `parent` with this name, made if need be; `trim` takes the rest away. */
class Pen {
  constructor(parent) {
    this.parent = parent;
    this.next = parent.firstChild;
  }
  draw(name, attributes, text) {
    while (this.next && this.next.localName !== name) this.next = this.drop(this.next);
    const node = this.next ?? this.parent.appendChild(document.createElementNS(SVG, name));
    this.next = node.nextSibling;
    for (const key of node.getAttributeNames()) if (!(key in attributes)) node.removeAttribute(key);
    for (const [key, value] of Object.entries(attributes)) {
      const written = typeof value === "number" ? String(Math.round(value * 100) / 100) : value;
      if (node.getAttribute(key) !== written) node.setAttribute(key, written);
    }
    if (text !== undefined && node.textContent !== text) node.textContent = text;
    return node;
  }
  drop(node) {
    const after = node.nextSibling;
    node.remove();
    return after;
  }
  trim() {
    while (this.next) this.next = this.drop(this.next);
  }
}

/** Edges of the shape that points make: in a plane from one to the next in angle, in space of the convex hull. */
function hullEdges(points, m) {
  const k = points.length, edges = new Set();
  if (k < 3) return [];
  if (m === 2) {
    const order = points.map((p, i) => [Math.atan2(p[1], p[0]), i]).sort((a, b) => a[0] - b[0]);
    return order.map(([, i], at) => [i, order[(at + 1) % k][1]]);
  }
  for (let a = 0; a < k; a++) for (let b = a + 1; b < k; b++) for (let c = b + 1; c < k; c++) {
    const [u, v] = [points[b], points[c]].map(p => p.map((x, d) => x - points[a][d]));
    const normal = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    const size = Math.hypot(...normal);
    if (size < 0.05) continue;
    const side = points.map(p => p.reduce((sum, x, d) => sum + normal[d] * (x - points[a][d]), 0) / size);
    if (side.every(s => s < 0.03) || side.every(s => s > -0.03)) for (const [i, j] of [[a, b], [a, c], [b, c]]) edges.add(i * k + j);
  }
  return [...edges].map(e => [Math.floor(e / k), e % k]);
}

const WIDE = 400, HIGH = 340;

/** The features' directions: in the plane as they are, in space turned and seen from nearby. */
function drawVectors(svg, {model}, seen, {dark, turn, tilt}) {
  const {n, m, W_in: W} = model, pen = new Pen(svg);
  const [a, b] = [turn, tilt].map(degrees => (degrees * Math.PI) / 180);
  const vectors = Array.from({length: n}, (_, i) => Array.from(W.subarray(i * m, i * m + m)));
  const longest = Math.max(...vectors.map(v => Math.hypot(...v)));
  const unit = (0.44 * HIGH) / Math.max(1.1, Math.ceil(10 * longest) / 10);
  const project = v => {
    if (m === 2) return {x: WIDE / 2 + unit * v[0], y: HIGH / 2 - unit * v[1], z: 0, size: 1};
    const x = v[0] * Math.cos(a) + v[2] * Math.sin(a), back = v[2] * Math.cos(a) - v[0] * Math.sin(a);
    const y = v[1] * Math.cos(b) - back * Math.sin(b), z = v[1] * Math.sin(b) + back * Math.cos(b);
    const size = 3.6 / (3.6 - z);
    return {x: WIDE / 2 + 0.92 * unit * x * size, y: HIGH / 2 - 0.92 * unit * y * size, z, size};
  };
  const path = points => points.map(({x, y}, k) => `${k ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
  const circle = axes => path(Array.from({length: 73}, (_, k) => {
    const v = [0, 0, 0];
    v[axes[0]] = Math.cos((k * Math.PI) / 36);
    v[axes[1]] = Math.sin((k * Math.PI) / 36);
    return project(v.slice(0, m));
  }));
  for (const axes of m === 2 ? [[0, 1]] : [[0, 1], [0, 2], [1, 2]]) pen.draw("path", {d: circle(axes), class: "guide"});
  for (let axis = 0; axis < m; axis++) {
    const ends = [-1.08, 1.08].map(r => project(Array.from({length: m}, (_, d) => (d === axis ? r : 0))));
    pen.draw("path", {d: path(ends), class: "guide"});
  }
  const kept = vectors.filter((v, i) => seen.represented[i]), dots = kept.map(project);
  const edges = hullEdges(kept, m);
  if (m === 2 && edges.length) pen.draw("path", {d: `${path(edges.map(([i]) => dots[i]))}Z`, class: "hull"});
  else for (const [i, j] of edges) pen.draw("path", {d: path([dots[i], dots[j]]), class: "edge", "stroke-opacity": 0.25 + 0.2 * (dots[i].z + dots[j].z + 2) / 2});
  const order = vectors.map((v, i) => ({i, at: project(v), long: Math.hypot(...v)})).sort((p, q) => p.at.z - q.at.z || q.i - p.i);
  const centre = project(vectors[0].map(() => 0));
  for (const {i, at, long} of order) {
    const {fill, ink} = featureColour(i, n, dark), small = long < 0.15;
    pen.draw("path", {d: path([centre, at]), stroke: fill, "stroke-width": 3.2 * at.size, "stroke-linecap": "round", fill: "none"});
    pen.draw("circle", {cx: at.x, cy: at.y, r: (small ? 4 : 9.5) * at.size, fill, class: "tip"});
    if (!small) pen.draw("text", {x: at.x, y: at.y + 4 * at.size, fill: ink, "text-anchor": "middle", "font-size": 11.5 * at.size, "font-weight": 600}, String(i));
  }
  pen.trim();
}

const KIND_MARKS = {
  monosemantic: (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`,
  polysemantic: (x, y, r) => `M${x} ${y - 1.3 * r}L${x + 1.3 * r} ${y}L${x} ${y + 1.3 * r}L${x - 1.3 * r} ${y}Z`,
  dead: (x, y, r) => `M${x - r} ${y - r}L${x + r} ${y + r}M${x - r} ${y + r}L${x + r} ${y - r}`,
};

/** Each neuron as a stack of its input weights by feature, and a mark for its kind. */
function drawStacks(svg, {model}, seen, {dark}) {
  const {n, m, W_in: W, task} = model, pen = new Pen(svg);
  const stacks = Array.from({length: m}, (_, j) => {
    const w = Array.from({length: n}, (_, i) => W[i * m + j]);
    const largest = task === "absolute" ? Math.max(1e-12, ...w.map(Math.abs)) : 1;
    return w.map(x => x / largest);
  });
  const reach = sign => Math.max(...stacks.map(s => s.reduce((sum, x) => sum + Math.max(0, sign * x), 0)));
  const up = Math.max(1, Math.ceil(4 * reach(1)) / 4), down = Math.max(0.25, Math.ceil(4 * reach(-1)) / 4);
  const left = 34, top = 12, foot = 30, unit = (HIGH - top - foot) / (up + down), zero = top + up * unit;
  const step = (WIDE - left - 6) / m, wide = Math.min(64, 0.78 * step);
  const every = [0.5, 1, 2, 5].find(tick => (up + down) / tick <= 8) ?? 10;
  for (let k = Math.ceil(-down / every); k * every <= up + 1e-9; k++) {
    const y = zero - k * every * unit;
    pen.draw("path", {d: `M${left} ${y.toFixed(1)}H${WIDE}`, class: k ? "guide" : "axis"});
    pen.draw("text", {x: left - 5, y: y + 4, "text-anchor": "end", class: "tick"}, String(k * every));
  }
  stacks.forEach((stack, j) => {
    const x = left + (j + 0.5) * step - wide / 2, at = {1: zero, "-1": zero};
    stack.forEach((w, i) => {
      const sign = w > 0 ? 1 : -1, tall = Math.abs(w) * unit, {fill, ink} = featureColour(i, n, dark);
      if (tall < 0.4) return;
      if (sign > 0) at[1] -= tall;
      const y = sign > 0 ? at[1] : at[-1];
      if (sign < 0) at[-1] += tall;
      pen.draw("rect", {x, y, width: wide, height: tall, fill, class: "piece"});
      if (tall > 14 && wide > 17) pen.draw("text", {x: x + wide / 2, y: y + tall / 2 + 4, fill: ink, "text-anchor": "middle", "font-size": 11.5, "font-weight": 600}, String(i));
    });
    const kind = KINDS[seen.kinds[j]];
    pen.draw("path", {d: KIND_MARKS[kind](Math.round(x + wide / 2), HIGH - 13, 5), class: `mark ${kind}`});
  });
  pen.trim();
}

const SIDE = 320;

/** A bar for every feature, numbered, with lines at the levels that mean something. */
function drawBars(svg, {model}, seen, {dark}) {
  const pen = new Pen(svg), {n} = model, high = 116, foot = 18, left = 30;
  const values = seen.D ?? seen.gain, levels = seen.D ? {1: "1", 0.5: "1/2", 0.4: ""} : {1: "1", 0.5: "1/2"};
  const y = value => high - foot - (high - foot - 10) * clamp(value, [0, 1.1]) / 1.1;
  for (const [level, name] of [[0, "0"], ...Object.entries(levels)]) {
    pen.draw("path", {d: `M${left} ${y(level).toFixed(1)}H${SIDE}`, class: Number(level) ? "guide" : "axis"});
    if (name) pen.draw("text", {x: left - 5, y: y(level) + 4, "text-anchor": "end", class: "tick"}, name);
  }
  const step = (SIDE - left) / n;
  values.forEach((value, i) => {
    const x = left + (i + 0.5) * step, wide = Math.min(34, 0.76 * step);
    pen.draw("rect", {x: x - wide / 2, y: y(value), width: wide, height: Math.max(0, high - foot - y(value)), fill: featureColour(i, n, dark).fill, rx: 1.5});
    if (n <= 12 || i % 2 === 0) pen.draw("text", {x, y: high - 4, "text-anchor": "middle", class: "tick"}, String(i));
  });
  pen.trim();
}

/** The loss over steps, on a log scale, with the best loss without superposition and where settings changed. */
function drawLoss(svg, trainer, seen) {
  const pen = new Pen(svg), high = 116, foot = 18, left = 42, {history, total, done, state} = trainer;
  const losses = history.map(([, loss]) => Math.max(loss, 1e-9));
  const reference = seen.reference > 0 ? seen.reference : null;
  const top = Math.max(...losses, reference ?? 0, 1e-8) * 1.15, bottom = Math.max(1e-6 * top, Math.min(...losses, reference ?? Infinity, top / 8) * 0.8);
  const x = step => left + ((SIDE - left - 4) * step) / Math.max(1, total - done + state.steps);
  const y = loss => 6 + ((high - foot - 6) * Math.log(top / clamp(loss, [bottom, top]))) / Math.log(top / bottom);
  const between = Array.from({length: 19}, (_, k) => k - 12).filter(k => 10 ** k > bottom && 10 ** k < top);
  for (const k of between.filter((_, at) => at % Math.ceil(between.length / 4) === 0)) {
    pen.draw("path", {d: `M${left} ${y(10 ** k).toFixed(1)}H${SIDE}`, class: "guide"});
    pen.draw("text", {x: left - 5, y: y(10 ** k) + 4, "text-anchor": "end", class: "tick"}, k < -3 ? `1e${k}` : String(Number((10 ** k).toPrecision(1))));
  }
  pen.draw("path", {d: `M${left} 6V${high - foot}H${SIDE}`, class: "axis"});
  const turns = trainer.turns.map(x).reduce((kept, at) => (at - (kept.at(-1) ?? -9) < 4 ? kept : [...kept, at]), []);
  pen.draw("path", {d: turns.map(at => `M${at.toFixed(1)} 6V${high - foot}`).join(""), class: "turn"});
  if (reference) pen.draw("path", {d: `M${left} ${y(reference).toFixed(1)}H${SIDE}`, class: "reference"});
  if (history.length > 1) {
    const thin = Math.ceil(history.length / 160);
    const points = history.filter((_, k) => k % thin === 0 || k === history.length - 1);
    pen.draw("path", {d: points.map(([step, loss], k) => `${k ? "L" : "M"}${x(step).toFixed(1)} ${y(Math.max(loss, 1e-9)).toFixed(1)}`).join(""), class: "curve"});
  }
  pen.draw("text", {x: SIDE, y: high - 4, "text-anchor": "end", class: "tick"}, `${thousands(total - done + state.steps)} steps`);
  pen.draw("text", {x: left, y: high - 4, class: "tick"}, "0");
  pen.trim();
}

// --- the page --------------------------------------------------------------------------------------------

const SPARSITIES = [...Array.from({length: 19}, (_, k) => (5 * k) / 100), ...Array.from({length: 9}, (_, k) => (91 + k) / 100), 0.995];
const nearest = (values, wanted) => values.reduce((best, value, k) => (Math.abs(value - wanted) < Math.abs(values[best] - wanted) ? k : best), 0);
const TASKS = {output: "Directions: ReLU output", copy: "Neurons: third model, copy", absolute: "Neurons: absolute value"};
const SETS = {none: "independent", "together-2": "together, in twos", "together-3": "together, in threes", "apart-2": "one at a time, of two", "apart-3": "one at a time, of three"};
const SPEEDS = {slow: ["slow: 20 steps a second", 20], medium: ["medium: 400 a second", 400], fast: ["as fast as it goes", 1e6]};
const LENGTHS = [500, 1000, 2000, 4000, 10000];
const STARTS = 20; // of a search
const FRAME_BUDGET = 9, HELD_BUDGET = 3; // milliseconds of training between two pictures; while a control moves
const HELD = 300; // milliseconds after its last move in which a control counts as moving

const options = entries => entries.map(([value, text]) => `<option value="${value}">${text}</option>`).join("");
const choice = (id, text, entries) => `<div class="field"><label for="${id}">${text}</label><select id="${id}">${options(Object.entries(entries))}</select></div>`;
const slider = (id, text, low, high, step) =>
  `<div class="field" id="${id}-field"><div class="row"><label for="${id}">${text}</label><output for="${id}" id="${id}-value"></output></div><input type="range" id="${id}" min="${low}" max="${high}" step="${step}"></div>`;
const picture = (id, wide, high, title) => `<figure><figcaption id="${id}-title">${title}</figcaption><svg id="${id}" role="img" viewBox="0 0 ${wide} ${high}" aria-labelledby="${id}-title"></svg></figure>`;
const legend = kind => `<svg class="key" viewBox="-8 -8 16 16" aria-hidden="true"><path class="mark ${kind}" d="${KIND_MARKS[kind](0, 0, 5)}"/></svg>`;

const STYLE = `
:host { display: block; container-type: inline-size; margin: 0.5rem 0; text-align: left; }
.lab { --ink: #1b1f24; --soft: #57606a; --paper: #ffffff; --panel: #f5f7f9; --line: #d3d9df; --accent: #0a5ea8; --on-accent: #ffffff;
  --mono: #0072b2; --poly: #d55e00; --dead: #6e7781; --curve: #0072b2;
  font: 400 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: var(--ink);
  background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 14px; box-sizing: border-box; }
.lab.dark { --ink: #e8ebee; --soft: #a9b2bc; --paper: #171b20; --panel: #20262d; --line: #3b444e; --accent: #7cc0f4; --on-accent: #0c1116;
  --mono: #56b4e9; --poly: #f08a4b; --dead: #98a2ad; --curve: #56b4e9; color-scheme: dark; }
* { box-sizing: border-box; }
p, figure, dl, dd { margin: 0; }
.top { display: flex; flex-wrap: wrap; gap: 10px 12px; align-items: end; }
.top .field { flex: 1 1 260px; }
.buttons { display: flex; flex-wrap: wrap; gap: 8px; }
button, select, input[type=number] { font: inherit; color: var(--ink); background: var(--paper); border: 1px solid var(--soft); border-radius: 8px; min-height: 40px; padding: 0 12px; }
select, input[type=number] { width: 100%; padding: 0 8px; text-overflow: ellipsis; }
button { cursor: pointer; white-space: nowrap; }
button:hover { border-color: var(--accent); color: var(--accent); }
button.main { background: var(--accent); border-color: var(--accent); color: var(--on-accent); font-weight: 600; min-width: 92px; }
button.main:hover { filter: brightness(1.08); color: var(--on-accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 6px; }
.watch { margin: 10px 0; color: var(--soft); }
.stage { display: grid; grid-template-columns: minmax(0, 1fr); gap: 12px; }
.stage > figure { display: grid; grid-template-rows: auto 1fr; align-items: center; } .stage > *, .controls { background: var(--panel); border-radius: 10px; padding: 10px 12px; min-width: 0; }
.side { display: grid; gap: 10px; align-content: start; }
figcaption { font-size: 13px; color: var(--soft); }
svg { display: block; width: 100%; height: auto; overflow: visible; font-family: inherit; }
#view.solid { cursor: grab; touch-action: pan-y; }
#view.solid:active { cursor: grabbing; }
.guide { stroke: var(--line); stroke-width: 1; fill: none; }
.axis { stroke: var(--soft); stroke-width: 1; fill: none; }
.hull { fill: var(--accent); fill-opacity: 0.1; stroke: var(--accent); stroke-opacity: 0.5; stroke-width: 1.2; stroke-linejoin: round; }
.edge { stroke: var(--accent); stroke-width: 1.2; }
.tip, .piece { stroke: var(--panel); stroke-width: 1; }
.tick { font-size: 11.5px; fill: var(--soft); }
.curve { fill: none; stroke: var(--curve); stroke-width: 1.8; stroke-linejoin: round; }
.reference { stroke: var(--poly); stroke-width: 1.4; stroke-dasharray: 5 4; fill: none; }
.turn { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 1 3; fill: none; }
.mark.monosemantic { fill: var(--mono); } .mark.polysemantic { fill: var(--poly); } .mark.dead { stroke: var(--dead); stroke-width: 2.2; fill: none; }
.key { display: inline-block; width: 15px; height: 15px; vertical-align: -2px; margin-right: 4px; }
.dash { white-space: nowrap; color: var(--poly); font-weight: 700; letter-spacing: -1px; }
.counts { display: grid; grid-template-columns: repeat(6, minmax(0, 1fr)); gap: 6px 10px; }
.counts div { grid-column: span 3; }
.counts dt { font-size: 13px; color: var(--soft); }
.counts dd { font-size: 20px; font-weight: 650; font-variant-numeric: tabular-nums; line-height: 1.2; }
.counts .wide { grid-column: 1 / -1; } .counts .wide dd { font-size: 16px; line-height: 1.4; font-weight: 600; }
.controls { margin-top: 12px; display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 190px), 1fr)); gap: 10px 20px; }
.field { min-width: 0; } .row { display: flex; justify-content: space-between; gap: 8px; }
label { font-size: 13px; color: var(--soft); } output { white-space: nowrap; font-weight: 600; font-variant-numeric: tabular-nums; font-size: 14px; }
input[type=range] { width: 100%; height: 28px; margin: 0; accent-color: var(--accent); }
.pair { display: flex; gap: 6px; } .pair input { min-width: 0; }
.status { margin-top: 10px; min-height: 2.9em; font-variant-numeric: tabular-nums; }
details { margin-top: 4px; font-size: 13px; } summary { cursor: pointer; color: var(--soft); padding: 4px 0; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 2px 8px; text-align: right; border-bottom: 1px solid var(--line); font-weight: 400; } th { color: var(--soft); }
[hidden] { display: none !important; }
@container (min-width: 400px) { .counts .third { grid-column: span 2; } }
@container (min-width: 620px) { .lab { padding: 18px; } .stage { grid-template-columns: minmax(0, 5fr) minmax(0, 4fr); } .top .field { flex-basis: 240px; } }
@media print { .top, .controls, details { display: none; } }
`;

const PAGE = `
<section class="lab" aria-label="Toy model lab">
  <div class="top">
    ${choice("preset", "Experiment", Object.fromEntries([...Object.entries(PRESETS).map(([key, {title}]) => [key, title]), ["own", "Settings of your own"]]))}
    <div class="buttons">
      <button type="button" id="run" class="main">Run</button>
      <button type="button" id="step">Step</button>
      <button type="button" id="reset">Reset</button>
      <button type="button" id="search">Best of ${STARTS} starts</button>
      <button type="button" id="link">Copy link</button>
    </div>
  </div>
  <p class="watch" id="watch"></p>
  <div class="stage">
    ${picture("view", WIDE, HIGH, "")}
    <div class="side">
      <dl class="counts" id="counts"></dl>
      ${picture("bars", SIDE, 116, "")}
      ${picture("loss", SIDE, 116, "")}
    </div>
  </div>
  <div class="controls" role="group" aria-label="Settings">
    ${slider("sparsity", "Sparsity", 0, SPARSITIES.length - 1, 1)}
    ${slider("decay", "Importance decay", LIMITS.decay[0], LIMITS.decay[1], 0.01)}
    ${slider("n", "Features", LIMITS.n[0], LIMITS.n[1], 1)}
    ${slider("m", "Hidden units", LIMITS.m[0], LIMITS.m[1], 1)}
    ${slider("turn", "Turn the picture", -180, 180, 5)}
    ${slider("tilt", "Tilt the picture", -90, 90, 5)}
    ${choice("task", "Model", TASKS)}
    ${choice("sets", "Features are active", SETS)}
    <div class="field"><label for="seed">Seed</label><div class="pair"><input type="number" id="seed" min="${LIMITS.seed[0]}" max="${LIMITS.seed[1]}" step="1" inputmode="numeric"><button type="button" id="next">Next</button></div></div>
    ${choice("steps", "Training steps", Object.fromEntries(LENGTHS.map(k => [k, thousands(k)])))}
    ${choice("speed", "Speed", Object.fromEntries(Object.entries(SPEEDS).map(([key, [text]]) => [key, text])))}
  </div>
  <p class="status" id="status" role="status" aria-live="polite"></p>
  <details id="numbers"><summary>The weights as a table</summary><div class="scroll" tabindex="0" role="region" aria-label="Weights"></div></details>
</section>`;

/** Whether the surroundings are dark: by what Sphinx, Colab, JupyterLab or VS Code say, else by the system. */
function isDark() {
  const {documentElement: html, body} = document;
  const says = [html.dataset.theme, html.getAttribute("theme"), body.dataset.theme].find(word => word === "dark" || word === "light");
  if (says) return says === "dark";
  if (body.dataset.jpThemeLight) return body.dataset.jpThemeLight === "false";
  const code = body.dataset.vscodeThemeKind ?? body.className.match(/vscode-(?:dark|light|high-contrast(?:-light)?)\b/)?.[0];
  if (code) return code === "vscode-dark" || code === "vscode-high-contrast";
  if (globalThis.google?.colab) return false;
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

class Lab {
  constructor(host, {state = {}, name = null, onChange = () => {}} = {}) {
    Object.assign(this, {host, name, onChange, preset: state, angles: {turn: 25, tilt: 20}, touched: -Infinity});
    this.root = host.shadowRoot ?? host.attachShadow({mode: "open"});
    this.root.innerHTML = `<style>${STYLE}</style>${PAGE}`;
    this.part = Object.fromEntries([...this.root.querySelectorAll("[id]")].map(node => [node.id, node]));
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.controller = new AbortController();
    this.listen();
    this.set((name && readAddress(location.hash, name)) ?? state, {begin: false});
    this.themed();
    // a lab begins when it is first seen
    this.watcher = new IntersectionObserver(entries => {
      if (entries.some(entry => entry.isIntersecting)) {
        this.watcher.disconnect();
        if (!this.trainer.total) this.run();
      }
    });
    this.watcher.observe(host);
  }

  // settings ............................................................................................

  /** Take a whole state, and train it from the start. */
  set(changes, {begin = true} = {}) {
    this.state = complete(changes);
    this.restart();
    if (begin) this.run();
  }

  /** Take the reader's change. A model of other size or task starts afresh; other data go on from its weights. */
  change(changes) {
    this.settle();
    const before = this.state;
    this.state = complete({...before, ...changes});
    const fresh = ["task", "n", "m", "seed"].some(key => this.state[key] !== before[key]);
    const data = ["sparsity", "decay", "sets", "steps"].some(key => this.state[key] !== before[key]);
    if (fresh) this.restart();
    else if (data) this.trainer.aim(this.state);
    if (fresh || data) this.run();
    this.show();
  }

  /** Show what the reader changed: with the next picture while training, else at once. */
  show() {
    this.touched = performance.now();
    this.controls();
    if (this.running) this.drawn = -Infinity;
    else this.draw();
  }

  /** Tell the kernel and the page's address; once a slider is let go, as browsers limit how often an address may change. */
  remember() {
    this.onChange(changesOf(this.state));
    if (!this.name) return;
    try {
      history.replaceState(history.state, "", writeAddress(location.hash, this.name, this.state));
    } catch {
      // a page within a sandbox has no address to write to
    }
  }

  restart() {
    this.search = null;
    this.trainer = new Trainer(this.state);
    this.controls();
    this.draw();
    this.say();
  }

  // training ............................................................................................

  run() {
    if (this.trainer.finished && !this.search) this.trainer.aim(this.state);
    this.running = true;
    this.owed = 0;
    this.last = this.spoken = performance.now();
    this.label();
    this.frame ??= requestAnimationFrame(now => this.tick(now));
  }

  pause() {
    this.running = false;
    this.settle();
    this.label();
    this.draw();
    this.say();
  }

  /** End a search: the model that it leaves has a seed, which the page and its address name from now on. */
  settle() {
    if (!this.search) return;
    this.search = null;
    this.state = complete({...this.state, seed: this.trainer.state.seed});
    this.controls();
    this.remember();
  }

  /** Between two pictures: train as long as the budget allows, and no faster than was asked for. */
  tick(now) {
    this.frame = null;
    if (!this.running) return;
    const began = performance.now(), until = began + (this.isHeld() ? HELD_BUDGET : FRAME_BUDGET);
    if (this.search) this.explore(until);
    else {
      this.owed += SPEEDS[this.state.speed][1] * Math.min(0.1, Math.max(0, now - this.last) / 1000);
      while (this.owed >= 1 && !this.trainer.finished && performance.now() < until) {
        this.trainer.step();
        this.owed--;
      }
      this.owed = Math.min(this.owed, 50); // a slow frame is not made up for
      if (this.trainer.finished) return this.pause();
    }
    if (!this.running) return;
    this.last = now;
    if (!this.still.matches || now - (this.drawn ?? -Infinity) > 1000) {
      this.draw();
      this.drawn = now;
    }
    if (now - this.spoken > 4000) this.say();
    this.frame = requestAnimationFrame(later => this.tick(later));
  }

  /** Train one start after another; the one with the lowest loss on the same held-out inputs stays. */
  explore(until) {
    const {search} = this;
    while (performance.now() < until) {
      search.trainer ??= new Trainer({...this.state, seed: (search.first + search.results.length) % (LIMITS.seed[1] + 1)});
      if (!search.trainer.finished) {
        search.trainer.step();
        continue;
      }
      const loss = search.trainer.evaluate();
      search.results.push({loss, trainer: search.trainer, seen: measure(search.trainer)});
      if (loss <= Math.min(...search.results.map(result => result.loss))) this.trainer = search.trainer;
      search.trainer = null;
      if (search.results.length === STARTS) return this.found();
    }
  }

  found() {
    const {results} = this.search, output = this.state.task === "output";
    const tally = new Map();
    for (const {seen} of results) {
      const word = output ? plural(seen.nRepresented, "feature") : `${seen.counts[2]} polysemantic`;
      tally.set(word, (tally.get(word) ?? 0) + 1);
    }
    this.pause();
    const counted = [...tally].sort((a, b) => b[1] - a[1]).map(([word, times]) => `${word} in ${times}`).join(", ");
    this.say(`Of ${STARTS} starts: ${counted}. Seed ${this.state.seed} has the lowest loss, ${short(Math.min(...results.map(result => result.loss)))}. `);
  }

  // what the reader does ................................................................................

  listen() {
    const {part} = this, on = (node, event, action) => node.addEventListener(event, action, {signal: this.controller.signal});
    on(part.run, "click", () => (this.running ? this.pause() : this.run()));
    on(part.step, "click", () => {
      this.settle();
      if (this.trainer.finished) this.trainer.aim(this.state);
      this.trainer.step();
      this.pause();
    });
    on(part.reset, "click", () => {
      this.restart();
      this.pause();
    });
    on(part.search, "click", () => {
      this.restart();
      this.search = {first: this.state.seed, results: []};
      this.run();
      this.say(`Training ${STARTS} starts. `);
    });
    on(part.link, "click", async () => {
      this.remember();
      const copied = await navigator.clipboard?.writeText(location.href).then(() => true, () => false);
      this.say(copied ? "Link copied. " : "The address of this page now leads here: copy it. ");
    });
    on(part.next, "click", () => {
      this.change({seed: (this.state.seed + 1) % (LIMITS.seed[1] + 1)});
      this.remember();
    });
    on(part.preset, "change", () => {
      if (part.preset.value === "own") return this.controls();
      this.set({preset: part.preset.value, speed: this.state.speed});
      this.remember();
    });
    on(part.sparsity, "input", () => this.change({sparsity: SPARSITIES[part.sparsity.value]}));
    for (const key of ["decay", "n", "m"]) on(part[key], "input", () => this.change({[key]: Number(part[key].value)}));
    for (const key of ["task", "sets", "speed"]) on(part[key], "change", () => this.change({[key]: part[key].value}));
    for (const key of ["steps", "seed"]) on(part[key], "change", () => this.change({[key]: Number(part[key].value)}));
    for (const key of ["sparsity", "decay", "n", "m", "task", "sets", "speed", "steps", "seed"]) on(part[key], "change", () => this.remember());
    for (const key of ["turn", "tilt"]) on(part[key], "input", () => this.turnTo({[key]: Number(part[key].value)}));
    on(part.numbers, "toggle", () => this.table());
    on(part.view, "pointerdown", event => {
      if (!part.view.classList.contains("solid")) return;
      part.view.setPointerCapture(event.pointerId);
      this.held = {x: event.clientX, y: event.clientY, ...this.angles};
    });
    on(part.view, "pointermove", event => {
      if (!this.held) return;
      const around = (this.held.turn + (event.clientX - this.held.x) / 2 + 180) % 360;
      const turn = (around < 0 ? around + 360 : around) - 180;
      this.turnTo({turn, tilt: clamp(this.held.tilt + (event.clientY - this.held.y) / 2, [-90, 90])});
    });
    for (const end of ["pointerup", "pointercancel"]) on(part.view, end, () => (this.held = null));
    if (this.name) on(window, "hashchange", () => {
      const wanted = readAddress(location.hash, this.name);
      if (wanted) this.set(wanted);
    });
    const themed = () => this.themed();
    on(matchMedia("(prefers-color-scheme: dark)"), "change", themed);
    this.observer = new MutationObserver(themed);
    for (const node of [document.documentElement, document.body]) this.observer.observe(node, {attributes: true});
  }

  turnTo(angles) {
    Object.assign(this.angles, angles);
    this.show();
  }

  themed() {
    const dark = isDark();
    if (dark === this.dark) return;
    this.dark = dark;
    this.root.querySelector(".lab").classList.toggle("dark", dark);
    this.draw();
  }

  isHeld() {
    return performance.now() - this.touched < HELD;
  }

  // what the reader sees and hears ......................................................................

  label() {
    const text = this.running ? "Pause" : this.trainer.finished ? "Train on" : "Run";
    if (this.part.run.textContent !== text) this.part.run.textContent = text;
  }

  controls() {
    const {part, state, angles} = this, own = Object.keys(changesOf(state)).some(key => !["preset", "speed", "seed"].includes(key));
    const {title, watch} = PRESETS[state.preset];
    this.root.querySelector(".lab").setAttribute("aria-label", `Toy model lab: ${own ? "settings of your own" : title}`);
    part.preset.value = own ? "own" : state.preset;
    part.watch.textContent = own ? `Settings of your own, from “${title}”. Choose an experiment to go back.` : watch;
    for (const key of ["task", "sets", "speed", "seed", "decay", "n", "m"]) part[key].value = state[key];
    const lengths = [...new Set([...LENGTHS, state.steps])].sort((a, b) => a - b);
    if (lengths.length !== part.steps.length || !lengths.every((k, at) => part.steps.options[at].value === String(k)))
      part.steps.innerHTML = options(lengths.map(k => [k, thousands(k)]));
    part.steps.value = state.steps;
    const at = nearest(SPARSITIES, state.sparsity);
    part.sparsity.min = nearest(SPARSITIES, lowestSparsity(state));
    part.sparsity.value = at;
    part.m.min = state.task === "output" ? 2 : LIMITS.m[0];
    part.m.max = state.task === "output" ? 3 : LIMITS.m[1];
    part.m.value = state.m;
    const solid = state.task === "output" && state.m === 3;
    part["turn-field"].hidden = part["tilt-field"].hidden = !solid;
    part.view.classList.toggle("solid", solid);
    const shown = {
      sparsity: percent(state.sparsity), decay: state.decay === 1 ? "equal" : `× ${state.decay.toFixed(2)}`, n: String(state.n), m: String(state.m),
      turn: `${Math.round(angles.turn)}°`, tilt: `${Math.round(angles.tilt)}°`,
    };
    for (const key of ["turn", "tilt"]) part[key].value = angles[key];
    for (const [key, text] of Object.entries(shown)) {
      part[`${key}-value`].textContent = text;
      part[key].setAttribute("aria-valuetext", text);
    }
    part.link.hidden = !this.name;
    const neurons = state.task !== "output";
    part["view-title"].textContent = neurons
      ? `Input weights of each neuron, stacked by feature${state.task === "absolute" ? "; largest = 1" : ""}`
      : `Direction of each feature; 0 matters most${solid ? ". Drag to turn" : ""}`;
    part["bars-title"].textContent = neurons ? "How far each feature moves its own output" : "Share of a dimension that each feature gets";
    part["loss-title"].innerHTML = this.trainer.features.independent
      ? 'Loss, and the best without superposition <span class="dash" aria-hidden="true">╌╌</span>' : "Loss";
    this.label();
  }

  /** All there is to see; while a control moves, the picture and what stands beside it take turns, for smoothness. */
  draw() {
    const turns = this.running && this.isHeld();
    this.beside = turns && !this.beside;
    this.seen = measure(this.trainer);
    if (!this.beside) this.drawView();
    if (this.beside || !turns) this.drawSide();
  }

  drawView() {
    const {trainer, part, seen} = this, look = {dark: this.dark, ...this.angles};
    (trainer.model.task === "output" ? drawVectors : drawStacks)(part.view, trainer, seen, look);
  }

  drawSide() {
    const {trainer, part, seen} = this, look = {dark: this.dark};
    drawBars(part.bars, trainer, seen, look);
    drawLoss(part.loss, trainer, seen);
    const [dead, mono, poly] = seen.counts, ratio = seen.reference > 0 && seen.loss !== null ? short(seen.loss / seen.reference) : null;
    const entries = [["features represented", `${seen.nRepresented} of ${trainer.model.n}`]];
    entries.push(ratio ? ["relative loss", ratio] : ["loss", seen.loss === null ? "–" : short(seen.loss)]);
    if (trainer.model.task === "output") {
      entries.push(["arrangement", arrangement(trainer.model, seen.represented) || "no regular shape", "wide"]);
    } else {
      for (const [kind, count] of [["monosemantic", mono], ["polysemantic", poly], ["dead", dead]]) entries.push([kind, `${legend(kind)}${count}`, "third"]);
      entries.push(["features in neurons", describe(seen.parts), "wide"]);
    }
    if (this.search) entries.push(["starts tried", `${this.search.results.length} of ${STARTS}`, "wide"]);
    const words = entries.map(([term, value, kind = ""]) => `<div class="${kind}"><dt>${term}</dt><dd>${value}</dd></div>`).join("");
    if (words !== this.words) part.counts.innerHTML = this.words = words;
  }

  /** For a reader who listens: now and then while training, and at every stop. */
  say(prefix = "") {
    const text = summary(this.trainer, this.seen);
    this.spoken = performance.now();
    this.part.status.textContent = prefix + text;
    this.part.view.setAttribute("aria-label", text);
    this.part.view.removeAttribute("aria-labelledby");
    this.table();
  }

  table() {
    if (!this.part.numbers.open) return;
    const {model} = this.trainer, {n, m} = model, cell = value => `<td>${value.toFixed(2)}</td>`;
    const head = (name, count) => Array.from({length: count}, (_, j) => `<th scope="col">${name} ${j}</th>`).join("");
    const rows = Array.from({length: n}, (_, i) => {
      const weights = W => Array.from(W.subarray(i * m, i * m + m), cell).join("");
      return `<tr><th scope="row">${i}</th>${weights(model.W_in)}${model.tied ? "" : weights(model.W_out)}${cell(model.b[i])}</tr>`;
    });
    const columns = model.tied ? head("W", m) : head("in", m) + head("out", m);
    this.part.numbers.lastElementChild.innerHTML = `<table><thead><tr><th scope="col">feature</th>${columns}<th scope="col">bias</th></tr></thead><tbody>${rows.join("")}</tbody></table>`;
  }

  destroy() {
    this.running = false;
    this.controller.abort();
    this.observer.disconnect();
    this.watcher.disconnect();
  }
}

// --- hosts -----------------------------------------------------------------------------------------------

/** Put a lab into an element; a lab with a name keeps its state in the page's address. */
export function mount(host, settings) {
  return (host.lab = new Lab(host, settings));
}

/** Without a kernel: fill the places that a page has for labs, each once. */
export function mountAll() {
  for (const [k, host] of document.querySelectorAll(".toylib-lab").entries())
    if (!host.lab) mount(host, {state: JSON.parse(host.dataset.state), name: `lab-${k + 1}`});
}

/** With a kernel: anywidget's view. The trait `state` follows the reader, and the lab follows the trait. */
export default {
  render({model, el}) {
    let sent = JSON.stringify(model.get("state"));
    const host = el.appendChild(document.createElement("div"));
    const lab = mount(host, {
      state: model.get("state"),
      onChange: state => {
        sent = JSON.stringify(state);
        model.set("state", state);
        model.save_changes();
      },
    });
    model.on("change:state", () => {
      const wanted = JSON.stringify(model.get("state"));
      if (wanted !== sent) lab.set(model.get("state"));
      sent = wanted;
    });
    return () => lab.destroy();
  },
};
