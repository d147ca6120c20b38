// The page's engine: many toy models at once, in WebAssembly (kernel.c) or, where a page may have none, in
// JavaScript. It stands after model.mjs and measures.mjs of the lab in the same module, and after KERNELS, which
// toylib/page/wasm/__init__.py writes. It runs in a page, in a worker, and in node.
//
// A setting is what toylib.page.wasm.setting gives: a model, its features and a schedule, in numbers.

const fromBase64 = text => Uint8Array.from(atob(text), character => character.charCodeAt(0));

/** The fastest way to train that there is here: its name, the module if it has one, and why it is no faster. */
export async function fastest(kernels = KERNELS) {
  let why = "this browser has no WebAssembly";
  for (const [name, text] of typeof WebAssembly === "object" ? Object.entries(kernels) : []) {
    const bytes = fromBase64(text);
    if (!WebAssembly.validate(bytes)) {
      why = "this browser has no SIMD in WebAssembly";
      continue;
    }
    try {
      return {name, module: await WebAssembly.compile(bytes), why: name === "simd" ? "" : why};
    } catch {
      why = "this page's content policy forbids WebAssembly"; // which validate does not know
      break;
    }
  }
  return {name: "javascript", module: null, why};
}

// --- starting weights: those that torch's generator gives a seed -----------------------------------------

/** The Mersenne Twister of Matsumoto and Nishimura, as torch seeds it: whole numbers of 32 bits. */
class Twister {
  constructor(seed) {
    this.state = new Uint32Array(624);
    this.state[0] = seed;
    for (let k = 1; k < 624; k++) {
      const before = this.state[k - 1] ^ (this.state[k - 1] >>> 30);
      this.state[k] = Math.imul(1812433253, before) + k;
    }
    this.at = 624;
  }
  next() {
    if (this.at === 624) this.renew();
    let y = this.state[this.at++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }
  renew() {
    const {state} = this;
    for (let k = 0; k < 624; k++) {
      const y = (state[k] & 0x80000000) | (state[(k + 1) % 624] & 0x7fffffff);
      state[k] = state[(k + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.at = 0;
  }
}

/** Normal numbers as torch.Tensor.normal_ draws `count` of them, to the last digits: sixteen or more at a time. */
export function normals(seed, count, std) {
  const random = new Twister(seed), values = new Float64Array(count);
  const uniform = () => (random.next() & 0xffffff) * 2 ** -24;
  const sixteen = at => { // Box and Muller's transformation, of the first eight with the last
    for (let k = at; k < at + 8; k++) {
      const radius = Math.sqrt(-2 * Math.log(1 - values[k])), angle = 2 * Math.PI * values[k + 8];
      values[k] = radius * Math.cos(angle) * std;
      values[k + 8] = radius * Math.sin(angle) * std;
    }
  };
  if (count < 16) return fewNormals(random, values, std);
  for (let k = 0; k < count; k++) values[k] = uniform();
  for (let k = 0; k + 16 <= count; k += 16) sixteen(k);
  if (count % 16) { // the last sixteen are drawn again
    for (let k = count - 16; k < count; k++) values[k] = uniform();
    sixteen(count - 16);
  }
  return values;
}

/** The same for fewer than sixteen: torch draws pairs, each from two uniforms of 53 bits. */
function fewNormals(random, values, std) {
  const uniform = () => { // the second of two numbers is the higher half, of which 21 bits count
    const high = random.next(), low = random.next();
    return ((high & 0x1fffff) * 2 ** 32 + low) * 2 ** -53;
  };
  for (let k = 0; k < values.length; k += 2) {
    const angle = 2 * Math.PI * uniform(), radius = Math.sqrt(-2 * Math.log1p(-uniform()));
    values[k] = radius * Math.cos(angle) * std;
    if (k + 1 < values.length) values[k + 1] = radius * Math.sin(angle) * std;
  }
  return values;
}

const isTied = ({task}) => task !== "absolute";
const nRows = ({n, m, task}) => n * m * (isTied({task}) ? 1 : 2) + n;

/** Weights of the model that toylib starts from this seed: W_in, W_out if it has one, biases; feature by feature. */
export function startOf(setting, seed) {
  const {n, m, outputScale, bias} = setting, nMatrices = isTied(setting) ? 1 : 2;
  const drawn = normals(seed, nMatrices * n * m, Math.sqrt(2 / (n + m))), weights = new Float32Array(nRows(setting));
  for (let matrix = 0; matrix < nMatrices; matrix++)
    for (let j = 0; j < m; j++)
      for (let i = 0; i < n; i++)
        weights[(matrix * n + i) * m + j] = Math.fround(drawn[(matrix * m + j) * n + i]) * (matrix ? outputScale : 1);
  return weights.fill(bias, nMatrices * n * m);
}

// --- the kernel ------------------------------------------------------------------------------------------

/** Models that see the same inputs, in WebAssembly. `starts` holds the weights of each. */
export class Kernel {
  constructor(module, setting, starts) {
    this.setting = setting;
    this.models = starts.length;
    this.calls = new WebAssembly.Instance(module, {}).exports;
    const {n, m, task, signed, batch, steps, warmup, lr, revival, importance} = setting, {calls} = this;
    if (!calls.setup(n, m, batch, this.models, +(task !== "output"), +!isTied(setting), +(task === "absolute"), +signed))
      throw new Error(`the kernel trains up to 64 models of 20 features and neurons, on batches of sixteens up to 512; got ${this.models} of ${n} and ${m}, ${batch}`);
    calls.schedule(steps, warmup, lr, revival);
    importance.forEach((weight, i) => calls.weigh(i, weight));
    starts.forEach((weights, k) => weights.forEach((weight, row) => calls.set_parameter(k, row, weight)));
  }
  /** Which inputs come next: those of "train" or "test", in this stream. */
  aim(which, stream) {
    const {n, units} = this.setting, {given, sampled, empty, lines, batch, purpose} = this.setting[which], {calls} = this;
    calls.inputs(given.length, batch, sampled, empty);
    units.forEach(([kind, q, members], u) => {
      calls.unit(kind, q, given[0]?.[u] ?? 1, given[1]?.[u] ?? 1);
      for (const feature of members) calls.member(feature);
    });
    lines.forEach((weight, l) => weight > 0 && calls.line(l % n, l < n ? 1 : -1, weight));
    calls.new_stream(stream, purpose);
  }
  step(count) {
    this.calls.steps(count);
  }
  /** Losses on the next inputs, on top of those before. */
  measure() {
    this.calls.losses();
  }
  /** Losses (models,), summed over batches since `aim`. */
  get totals() {
    return Array.from({length: this.models}, (_, k) => this.calls.total_loss(k));
  }
  weights(k) {
    return Float32Array.from({length: nRows(this.setting)}, (_, row) => this.calls.parameter(k, row));
  }
}

// --- the same in JavaScript, by the lab's own functions, in double precision ------------------------------

const high32 = (a, b) => { // of the product of two whole numbers of 32 bits
  const a0 = a & 0xffff, a1 = a >>> 16, b0 = b & 0xffff, b1 = b >>> 16;
  const middle = a1 * b0 + ((a0 * b0) >>> 16), cross = a0 * b1 + (middle & 0xffff);
  return a1 * b1 + (middle >>> 16) + (cross >>> 16);
};

/** SplitMix64 as toylib.draws has it, in halves of 32 bits; what the lab's `draw` takes for a Random. */
export class Stream {
  constructor(seed, purpose) {
    const step = 0x9e3779b97f4a7c15n, whole = z => BigInt.asUintN(64, z);
    const mix = z => {
      z = whole((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
      z = whole((z ^ (z >> 27n)) * 0x94d049bb133111ebn);
      return z ^ (z >> 31n);
    };
    const state = mix(whole(mix(whole(BigInt(seed) + step)) + BigInt(purpose)));
    [this.high, this.low] = [Number(state >> 32n), Number(state & 0xffffffffn)];
  }
  next() {
    const sum = this.low + 0x7f4a7c15;
    this.low = sum >>> 0;
    this.high = (this.high + 0x9e3779b9 + (sum > 0xffffffff ? 1 : 0)) >>> 0;
    let h = this.high, l = this.low;
    const shift = by => {
      const shifted = (l >>> by) | (h << (32 - by));
      h = (h ^ (h >>> by)) >>> 0;
      l = (l ^ shifted) >>> 0;
    };
    const times = (bh, bl) => {
      h = (high32(l, bl) + Math.imul(h, bl) + Math.imul(l, bh)) >>> 0;
      l = Math.imul(l, bl) >>> 0;
    };
    shift(30);
    times(0xbf58476d, 0x1ce4e5b9);
    shift(27);
    times(0x94d049bb, 0x133111eb);
    shift(31);
    return (h * 2 ** 21 + (l >>> 11)) * 2 ** -53;
  }
}

/** What Kernel does, without WebAssembly. */
export class Plain {
  constructor(setting, starts) {
    const {n, m, task, units, signed} = setting;
    this.setting = setting;
    this.members = units.flatMap(([, , members]) => members); // the lab's sets are of neighbours; these are names
    this.features = {signed, units: []};
    units.reduce((first, [kind, q, {length: size}]) => {
      this.features.units.push({first, size, apart: kind === 2, line: kind === 2 || size === 1, q});
      return first + size;
    }, 0);
    this.models = starts.map(weights => {
      const model = makeModel({task, n, m}), matrices = model.tied ? [model.W_in] : [model.W_in, model.W_out];
      [...matrices, model.b].reduce((at, array) => (array.set(weights.subarray(at, at + array.length)), at + array.length), 0);
      return {...model, moments: [...matrices, model.b].map(array => [array, new Float64Array(array.length), new Float64Array(array.length)])};
    });
    this.gradients = makeGradients(this.models[0]);
    this.done = 0;
    this.powers = [1, 1];
  }
  aim(which, stream) {
    const {n} = this.setting, {given: [cdf, any], sampled, empty, lines, batch, purpose} = this.setting[which];
    this.random = new Stream(stream, purpose);
    this.batch = makeBatch(batch, n);
    this.given = {cdf, any};
    this.share = {emptyWeight: empty, sampled, lines: lines.some(weight => weight > 0) ? lines.slice(0, n) : null};
    this.totals = this.models.map(() => 0);
  }
  draw() {
    draw(this.features, this.random, this.batch, this.given);
    const {index, value, start, size} = this.batch;
    for (let k = 0; k < start[size]; k++) {
      index[k] = this.members[index[k]];
      value[k] = Math.fround(value[k]);
    }
  }
  step(count) {
    const {steps, warmup, lr, revival, importance} = this.setting, {gradients} = this;
    for (; count > 0 && this.done < steps; count--, this.done++) {
      this.draw();
      this.powers = [this.powers[0] * 0.9, this.powers[1] * 0.999];
      const rate = (lr * Math.min(1, (this.done + 1) / Math.max(1, warmup)) * 0.5 * (1 + cosine(this.done / steps))) / (1 - this.powers[0]);
      const correction = 1 / (1 - this.powers[1]), slope = revival * Math.max(0, 1 - (2 * this.done) / steps);
      this.models.forEach((model, at) => {
        this.totals[at] += lossAndGradients(model, this.batch, importance, gradients, {...this.share, revival: slope});
        const found = model.tied ? [gradients.W_in, gradients.b] : [gradients.W_in, gradients.W_out, gradients.b];
        model.moments.forEach(([weights, mean, square], a) => {
          for (let k = 0; k < weights.length; k++) {
            const g = found[a][k];
            mean[k] += 0.1 * (g - mean[k]);
            square[k] += 0.001 * (g * g - square[k]);
            weights[k] -= (rate * mean[k]) / (Math.sqrt(square[k] * correction) + 1e-10);
          }
        });
      });
    }
  }
  measure() {
    this.draw();
    this.models.forEach((model, k) => (this.totals[k] += lossAndGradients(model, this.batch, this.setting.importance, this.gradients, this.share)));
  }
  weights(k) {
    const {W_in, W_out, b, tied} = this.models[k];
    return Float32Array.from([...W_in, ...(tied ? [] : W_out), ...b]);
  }
}

// --- one stream of inputs, from its models' seeds to what is measured of them -----------------------------

/** What is asked of a layer: a number for each. As toylib.studies.verdicts has them. */
export const MEASURES = {
  /** Share of its live neurons that have two features or more; 0 if all are dead. */
  polysemantic(model) {
    const live = featuresOfNeurons(contributions(model), model.n).filter(has => has.length);
    return live.length ? live.filter(has => has.length > 1).length / live.length : 0;
  },
  /** 1 if a feature has a part of its own, and other features share fewer neurons than they are; else 0. */
  mixed(model) {
    const parts = regime(featuresOfNeurons(contributions(model), model.n), gains(model).map(gain => gain > 0.5));
    const perFeature = model.task === "absolute" ? 2 : 1;
    return +(parts.some(([features]) => features === 1) && parts.some(([features, neurons]) => features > 1 && features * perFeature > neurons));
  },
};

/** The lab's form of a model, from its weights in a row. */
export function modelOf(setting, weights) {
  const model = makeModel(setting), size = setting.n * setting.m;
  model.W_in.set(weights.subarray(0, size));
  if (!model.tied) model.W_out.set(weights.subarray(size, 2 * size));
  model.b.set(weights.subarray(weights.length - setting.n));
  return model;
}

/** Training, losses and measures of the models of one stream, a slice at a time. */
export class Job {
  constructor(how, setting, stream) {
    const {perStream} = setting;
    const starts = Array.from({length: perStream}, (_, k) => startOf(setting, perStream * stream + k));
    this.setting = setting;
    this.engine = how.module ? new Kernel(how.module, setting, starts) : new Plain(setting, starts);
    this.engine.aim("train", stream);
    this.steps = this.parts = 0;
    this.nParts = Math.ceil(setting.test.inputs / setting.test.batch);
  }
  /** Go on until then; true while there is more. */
  advance(until) {
    const {setting, engine} = this;
    while (this.steps < setting.steps) {
      if (performance.now() > until) return true;
      engine.step(4);
      this.steps = Math.min(setting.steps, this.steps + 4);
      if (this.steps === setting.steps) engine.aim("test", setting.test.seed);
    }
    for (; this.parts < this.nParts; this.parts++) {
      if (performance.now() > until) return true;
      engine.measure();
    }
    return false;
  }
  get progress() {
    return (0.8 * this.steps) / this.setting.steps + (0.2 * this.parts) / this.nParts;
  }
  /** Held-out losses of all models, and what is measured of those that count, the `best` of them or all. */
  result() {
    const {setting, engine, nParts} = this, {perStream, best, measure, test} = setting;
    const losses = engine.totals.map(total => (total / nParts) * test.active);
    const chosen = Array.from(losses.keys()).sort((a, b) => losses[a] - losses[b]).slice(0, best ?? perStream);
    return {losses, chosen, values: chosen.map(k => MEASURES[measure](modelOf(setting, engine.weights(k))))};
  }
}
