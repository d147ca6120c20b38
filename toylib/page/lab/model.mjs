// The lab: toy models of superposition, trained in the page. This file and the three after it (measures,
// pictures, controls) are one module, put together in this order by toylib/page/lab/__init__.py.
//
// The module runs in the built page with no kernel, in JupyterLab, in VS Code and in Colab. It needs
// nothing beside the browser: no package, no network. What it computes is what toylib computes (the loss,
// the gradients, the measures; tests/test_lab.py compares them), and it computes the same bits on every
// machine: no function whose last digit is left to the browser (log, pow, cos) takes part in training, so
// that a link shows everyone the same model.
//
// Sections here: settings, random numbers and features, models, training.

// --- settings --------------------------------------------------------------------------------------------
// The next two constants are JSON: toylib/page/lab/__init__.py reads them from here.

export const LIMITS = {
  "task": ["output", "copy", "absolute"],
  "n": [1, 20],
  "m": [1, 20],
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

const DRAWN = [1, 3]; // dimensions that a picture can show

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
  if (state.task === "output") state.m = clamp(state.m, DRAWN);
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

const weightsOf = ({tied, W_in, W_out, b}) => (tied ? [W_in, b] : [W_in, W_out, b]);

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

/** The model's output (n,) at the input that has these [feature, value] and nothing else. */
function respond(model, active) {
  const {n, m, W_in, W_out, b} = model;
  const out = Float64Array.from(b);
  for (let j = 0; j < m; j++) {
    let h = 0;
    for (const [i, x] of active) h += W_in[i * m + j] * x;
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

const LARGE_SAMPLE = 65536, SMALL_SAMPLE = 8192; // held-out inputs: for a model at rest, and for one in motion
const MARKS = 60; // of a schedule, at which weights are kept
const heldOut = new WeakMap(); // by the features that they are drawn from

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
    this.spans = []; // {from, reference}: the best loss without superposition, from a step on
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
    this.spans = [...this.spans.filter(({from}) => from < this.total), {from: this.total, reference: withoutSuperposition(this)}];
    this.powers = [1, 1];
    this.done = 0;
    this.sum = this.counted = 0;
    this.path = []; // [steps done, weights] at the first step past each mark of this schedule
    this.rewound = false;
    this.mark();
  }

  /** The mark that the model has passed last; its weights are kept the first time. */
  mark() {
    const at = Math.floor((MARKS * this.done) / this.state.steps);
    this.path[at] ??= [this.done, weightsOf(this.model).map(array => array.slice())];
    return at;
  }

  /** Show the model as it was at the kept mark that is nearest to this one. */
  rewind(mark) {
    const near = Object.keys(this.path).map(Number).reduce((best, at) => (Math.abs(at - mark) < Math.abs(best - mark) ? at : best));
    const [done, weights] = this.path[near];
    weightsOf(this.model).forEach((array, k) => array.set(weights[k]));
    this.total += done - this.done;
    this.done = done;
    this.rewound = true;
  }

  /** Training goes on from a model of before: what came after it is forgotten, and so are the optimiser's means. */
  forget() {
    this.rewound = false;
    this.given = true;
    this.path.length = Math.floor((MARKS * this.done) / this.state.steps) + 1;
    this.history = this.history.filter(([total]) => total <= this.total);
    this.sum = this.counted = 0;
    this.powers = [1, 1];
    for (const [mean, square] of Object.values(this.moments)) {
      mean.fill(0);
      square.fill(0);
    }
  }

  get finished() {
    return this.done >= this.state.steps;
  }

  /** Whether the settings lead everyone to these weights: a whole schedule, or none of it, from the seed's own. */
  get follows() {
    return !this.given && !this.turns.length && (!this.done || this.finished);
  }

  /** Have these weights, `done` steps into the schedule; false if they are not as many as the model's. */
  adopt(numbers, done) {
    const arrays = weightsOf(this.model);
    if (numbers.length !== arrays.reduce((sum, array) => sum + array.length, 0)) return false;
    let at = 0;
    for (const array of arrays) array.set(numbers.slice(at, (at += array.length)));
    this.given = true;
    this.total = this.done = clamp(Math.round(done) || 0, [0, this.state.steps]);
    this.spans[0].from = this.total; // what was before it is not known
    this.path = [];
    this.mark();
    return true;
  }

  /** Put feature i's arm where the reader wants it. */
  place(i, arm) {
    this.model.W_in.set(arm, i * this.model.m);
    this.given = true;
    delete this.path[this.mark()]; // which has it from now on
    this.mark();
  }

  /** Another trainer that goes the same way from here. */
  copy() {
    const fields = structuredClone({...this}); // a tied model's two names for one array stay one array
    fields.random = Object.assign(new Random(0), fields.random);
    return Object.assign(Object.create(Trainer.prototype), fields);
  }

  step() {
    const {recipe, model, gradients, state} = this;
    if (this.rewound) this.forget();
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
    this.mark();
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
  evaluate(samples = LARGE_SAMPLE) {
    const {features, model} = this;
    if (heldOut.get(features)?.batch.size !== samples) {
      const batch = makeBatch(samples, model.n), shares = sharesOf(features, samples, features.strata.rest > 0 ? "strata" : "sampled");
      draw(features, new Random(0, HELD_OUT), batch, shares.given);
      heldOut.set(features, {batch, shares});
    }
    const {batch, shares} = heldOut.get(features);
    return lossAndGradients(model, batch, features.importance, makeGradients(model), shares) * (1 - features.empty);
  }
}

/** Train one model to the end of its schedule. */
export function train(state) {
  const trainer = new Trainer(complete(state));
  while (!trainer.finished) trainer.step();
  return trainer;
}
