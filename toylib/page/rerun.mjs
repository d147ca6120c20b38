// Run again with my seeds: on a claim's card, the reader's own machine trains models and applies the claim's rule.
//
// It stands after model.mjs, measures.mjs and wasm/engine.mjs in one module, put together by toylib/page/rerun.py.
// Nothing is done before the button is pressed. The same text, read from its own script element, is what the
// workers run: no request, no further file.

// --- intervals: those of toylib.evidence, from other random numbers ----------------------------------------

const mean = values => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The quantile of sorted values, on lines between them. */
function quantile(sorted, share) {
  const at = share * (sorted.length - 1), low = Math.min(Math.floor(at), sorted.length - 2);
  return sorted[low] + (at - low) * (sorted[low + 1] - sorted[low]);
}

const Z = 1.959963984540054; // of 95%

/** Share of a normal distribution below z: Zelen and Severo's approximation, to 1e-7. */
export function below(z) {
  if (!Number.isFinite(z)) return z > 0 ? 1 : 0;
  const t = 1 / (1 + 0.2316419 * Math.abs(z)), density = Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
  const tail = density * t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return z > 0 ? 1 - tail : tail;
}

/** The z below which this share lies. */
export function normalQuantile(share) {
  let low = -9, high = 9;
  for (let k = 0; k < 60; k++) {
    const middle = (low + high) / 2;
    if (below(middle) < share) low = middle;
    else high = middle;
  }
  return low;
}

/** Student's t of 95%, between two tails: Hill 1970, Algorithm 396. */
export function studentsT(df) {
  const P = 0.05, a = 1 / (df - 0.5), b = 48 / (a * a);
  if (Math.abs(df - 1) < 1e-9) return 1 / Math.tan((P * Math.PI) / 2);
  if (Math.abs(df - 2) < 1e-9) return Math.sqrt(2 / (P * (2 - P)) - 2);
  let c = ((20700 * a / b - 98) * a - 16) * a + 96.36;
  const d = ((94.5 / (b + c) - 3) / b + 1) * Math.sqrt((a * Math.PI) / 2) * df;
  let y = (d * P) ** (2 / df);
  if (y > 0.05 + a) {
    const x = -Z;
    y = x * x;
    if (df < 5) c += 0.3 * (df - 4.5) * (x + 0.6);
    c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c;
    y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x;
    y = Math.expm1(a * y * y);
  } else {
    y = ((1 / (((df + 6) / (df * y) - 0.089 * d - 0.822) * (df + 2) * 3) + 0.5 / (df + 4)) * y - 1) * (df + 1) / (df + 2) + 1 / y;
  }
  return Math.sqrt(df * y);
}

const SMOOTH = 1.5; // leaving streams out and drawing them anew must agree on the spread within this factor

/** Both ends of an interval, wide enough for few streams: toylib.evidence.streams.ends, which says how. */
function endsOf(estimate, drawn, groups) {
  const sum = (values, power) => values.reduce((total, value) => total + value ** power, 0);
  const over = term => groups.reduce((total, group) => total + term(group, group.length), 0);
  const plain = over((group, n) => sum(group, 2) / n ** 2), unbiased = over((group, n) => sum(group, 2) / (n * (n - 1)));
  const parts = over((group, n) => (sum(group, 2) / (n * (n - 1))) ** 2 / (n - 1));
  const z = plain > 0 ? Math.sqrt(unbiased / plain) * studentsT(unbiased ** 2 / parts) : Z;
  const sorted = Float64Array.from(drawn).sort(), middle = mean(drawn), tie = 1e-12 * Math.max(1, Math.abs(estimate));
  const off = Math.sqrt(plain / mean(drawn.map(value => (value - middle) ** 2))), smooth = off > 1 / SMOOTH && off < SMOOTH;
  const lower = mean(drawn.map(value => (Math.abs(value - estimate) <= tie ? 0.5 : +(value < estimate))));
  const shift = smooth ? normalQuantile(Math.min(1 - 0.5 / drawn.length, Math.max(0.5 / drawn.length, lower))) : 0;
  const skew = smooth ? over((group, n) => sum(group, 3) / n ** 3) / (6 * plain ** 1.5) : 0;
  const [[low, lowest], [high, highest]] = [-z, z].map(end => {
    const far = shift + end, room = 1 - skew * far;
    return [below(end), below(shift + (room > 0 ? far / room : end * Infinity))].map(share => quantile(sorted, share));
  });
  return {low: Math.min(low, lowest, estimate), high: Math.max(high, highest, estimate)};
}

/** Wilson's 95% interval of a proportion. */
export function wilson(successes, n) {
  const p = successes / n, middle = p + (Z * Z) / (2 * n);
  const half = Z * Math.sqrt((p * (1 - p)) / n + (Z * Z) / (4 * n * n)), all = 1 + (Z * Z) / n;
  return [Math.max(0, (middle - half) / all), Math.min(1, (middle + half) / all)];
}

/**
 * Estimate and 95% interval, a bootstrap over streams. `streams` holds, for every stream and setting, the values of
 * its layers, equally many in each. A "difference" is of the first setting less the second, whose streams are
 * drawn together if `paired`; a "share" has the wider one of this interval and Wilson's.
 */
export function intervalOf({statistic, paired}, streams, resamples = 2000) {
  const means = streams.map(settings => settings.map(mean)), n = means.length, random = new Random(0);
  const signs = statistic === "difference" ? [1, -1] : [1];
  const sides = paired ? [means.map(settings => settings[0] - settings[1])] : signs.map((sign, side) => means.map(settings => sign * settings[side]));
  const estimate = sides.reduce((sum, side) => sum + mean(side), 0), drawn = [];
  for (let r = 0; r < resamples; r++) {
    let sum = 0;
    for (const side of sides) for (let k = 0; k < n; k++) sum += side[Math.floor(random.next() * n)];
    drawn.push(sum / n);
  }
  let {low, high} = endsOf(estimate, drawn, sides.map(side => side.map(value => value - mean(side))));
  if (statistic === "share") {
    const values = streams.flatMap(([layers]) => layers), [least, most] = wilson(values.filter(Boolean).length, values.length);
    [low, high] = [Math.min(low, least), Math.max(high, most)];
  }
  return {estimate, low, high};
}

/** What a rule says of an interval: it "holds", is "undecided", or "fails". */
export function outcomeOf({above, below}, {low, high}) {
  if ((above === null || low > above) && (below === null || high < below)) return "holds";
  return (below !== null && low >= below) || (above !== null && high <= above) ? "fails" : "undecided";
}

// --- workers ------------------------------------------------------------------------------------------------

const inWorker = typeof document === "undefined" && typeof WorkerGlobalScope !== "undefined";
const SLICE = 40; // milliseconds between two reports of a worker
const SHORT = 12; // milliseconds of work between two pictures, where the page itself must do it
const PATIENCE = 4000; // milliseconds that a worker may take to begin

if (inWorker) {
  onmessage = ({data: {how, setting, stream}}) => {
    const job = new Job(how, setting, stream);
    while (job.advance(performance.now() + SLICE)) postMessage({progress: job.progress});
    postMessage({result: job.result()});
  };
  postMessage({ready: true});
}

/** Workers that run this very text, as many as begin; none where the page may not have them. */
async function startWorkers(count) {
  const text = document.querySelector("script.toylib-rerun")?.textContent;
  if (typeof Worker === "undefined" || !text) return [];
  // not as a module: a page that was opened from a file may have no workers of modules
  const url = URL.createObjectURL(new Blob([text.replace(/^export /gm, "")], {type: "text/javascript"}));
  const started = Array.from({length: count}, () => new Promise(resolve => {
    let worker = null, waiting = true;
    const give = given => {
      if (waiting && !given) worker?.terminate();
      waiting = false;
      resolve(given);
    };
    try {
      worker = new Worker(url);
    } catch {
      return give(null);
    }
    worker.onmessage = () => give(worker);
    worker.onerror = event => {
      event.preventDefault?.(); // a blocked worker is told in words
      give(null);
    };
    setTimeout(() => give(null), PATIENCE);
  }));
  const workers = (await Promise.all(started)).filter(Boolean);
  URL.revokeObjectURL(url);
  return workers;
}

/** One job in a worker; its result. */
const inOne = (worker, message, report) => new Promise((resolve, reject) => {
  worker.onmessage = ({data}) => ("result" in data ? resolve(data.result) : report(data.progress));
  worker.onerror = event => reject(new Error(event.message || "a worker failed"));
  worker.postMessage(message);
});

/** The same in the page, in slices between which it can be used. */
async function inPage({how, setting, stream}, report, stopped) {
  const job = new Job(how, setting, stream);
  while (job.advance(performance.now() + SHORT)) {
    report(job.progress);
    await new Promise(resolve => setTimeout(resolve));
    if (stopped()) return null;
  }
  return job.result();
}

/** A run of all streams of all settings; it tells of its progress and of every stream that is whole. */
export class Run {
  constructor(spec, firstSeed, {progressed = () => {}, formed = () => {}} = {}) {
    Object.assign(this, {spec, progressed, formed, stopped: false, workers: [], streams: []});
    this.first = Math.floor(firstSeed / spec.settings[0].perStream);
    this.whole = Array.from({length: spec.streams}, () => []);
  }
  async start() {
    const {spec} = this, nSettings = spec.settings.length;
    const jobs = Array.from({length: spec.streams * nSettings}, (_, k) => [Math.floor(k / nSettings), k % nSettings]);
    const shares = jobs.map(() => 0), began = performance.now();
    this.how = await fastest();
    const wanted = Math.max(1, Math.min(8, navigator.hardwareConcurrency || 2, jobs.length));
    this.workers = this.stopped ? [] : await startWorkers(wanted);
    this.inPage = !this.workers.length;
    const next = async worker => {
      while (jobs.length && !this.stopped) {
        const at = shares.length - jobs.length, [stream, number] = jobs.shift();
        const message = {how: {name: this.how.name, module: this.how.module}, setting: spec.settings[number], stream: this.first + stream};
        const report = share => {
          shares[at] = share;
          this.progressed(mean(shares));
        };
        const result = await (worker ? inOne(worker, message, report) : inPage(message, report, () => this.stopped));
        if (this.stopped || !result) return;
        report(1);
        this.whole[stream][number] = result.values;
        this.streams = this.whole.filter(values => Object.keys(values).length === nSettings);
        if (number === nSettings - 1 || this.streams.length) this.formed(this.streams);
      }
    };
    const stopping = new Promise(resolve => (this.release = resolve)); // a worker that is ended never answers
    if (this.stopped) this.release();
    await Promise.race([Promise.all((this.inPage ? [null] : this.workers).map(next)), stopping]);
    this.seconds = (performance.now() - began) / 1000;
    for (const worker of this.workers) worker.terminate();
  }
  stop() {
    this.stopped = true;
    this.release?.();
  }
  /** How it was run, in words. */
  get manner() {
    const engines = {simd: "WebAssembly with SIMD", scalar: "WebAssembly without SIMD", javascript: "JavaScript"};
    const why = this.how.why ? ` (slower: ${this.how.why})` : "";
    const where = this.inPage ? "in the page itself, which may start no workers" : `in ${plural(this.workers.length, "worker")}`;
    return `${engines[this.how.name]}${why}, ${where}`;
  }
}

// --- the card -----------------------------------------------------------------------------------------------

const RERUN_STYLE = `
:host { display: block; margin: 0.4rem 0; text-align: left; }
.rerun { font: 400 0.85rem/1.4 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: inherit; }
.row { display: flex; flex-wrap: wrap; gap: 6px 10px; align-items: center; }
label { display: inline-flex; gap: 6px; align-items: center; }
input, button { font: inherit; color: inherit; background: transparent; border: 1px solid currentColor; border-radius: 8px; min-height: 34px; padding: 0 10px; box-sizing: border-box; }
input { width: 9em; font-variant-numeric: tabular-nums; }
button { cursor: pointer; font-weight: 600; }
button:focus-visible, input:focus-visible, summary:focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
progress:not([hidden]) { width: 100%; height: 6px; margin: 8px 0 0; accent-color: currentColor; display: block; }
.both { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 10px; margin-top: 6px; line-height: 22px; }
svg { display: block; overflow: visible; }
p { margin: 4px 0 0; overflow-wrap: anywhere; }
summary { cursor: pointer; padding: 4px 0; }
[hidden] { display: none; }
.allowed { fill: currentColor; fill-opacity: 0.12; }
.bound { stroke: currentColor; stroke-dasharray: 3 2; }
.axis { stroke: currentColor; stroke-opacity: 0.25; }
.yours { stroke: currentColor; stroke-width: 4; stroke-linecap: round; }
.books { stroke: currentColor; stroke-width: 1.5; }
.dot { fill: currentColor; }
@media (forced-colors: active) { .allowed { fill: GrayText; } }
`;
const MOST_SEED = 4294960000; // torch's generator reads 32 bits
const USUAL = 1e9; // seeds that are proposed lie below
/** In as many digits as the interval justifies: toylib.evidence.digits. */
export function numbersOf({estimate, low, high}) {
  const decimals = Math.min(12, Math.max(0, Math.ceil(Math.log10(5 / (high - low)))));
  const shown = high > low ? value => (Number(value.toFixed(decimals)) + 0).toFixed(decimals) : value => String(Number(value.toPrecision(3)));
  return `${shown(estimate)} [${shown(low)}, ${shown(high)}]`;
}

/** Yours above the book's, on what the rule allows. */
function drawInterval(spec, yours) {
  const {rule, book} = spec, bounds = [rule.above, rule.below].filter(bound => bound !== null);
  const ends = [...bounds, book.low, book.high, ...(yours ? [yours.low, yours.high] : [])];
  const room = 0.12 * (Math.max(...ends) - Math.min(...ends) || 1), least = Math.min(...ends) - room, most = Math.max(...ends) + room;
  const at = value => `${(100 * Math.min(1, Math.max(0, (value - least) / (most - least)))).toFixed(2)}%`;
  const left = rule.above ?? least, right = rule.below ?? most;
  const width = `${((100 * (right - left)) / (most - least)).toFixed(2)}%`;
  const line = (kind, y, found) => `<line class="${kind}" x1="${at(found.low)}" x2="${at(found.high)}" y1="${y}" y2="${y}"/><circle class="dot" cx="${at(found.estimate)}" cy="${y}" r="${kind === "yours" ? 6 : 3.5}"/>`;
  return `<rect class="allowed" x="${at(left)}" y="2" width="${width}" height="44"/>` +
    bounds.map(bound => `<line class="bound" x1="${at(bound)}" x2="${at(bound)}" y1="0" y2="48"/>`).join("") +
    `<line class="axis" x1="0" x2="100%" y1="14" y2="14"/>${yours ? line("yours", 14, yours) : ""}${line("books", 36, book)}`;
}

/** What came of it: the rule, whether the book agrees, and what the book's verdict rests on beside. */
export function conclusion({rule, book, verdict, nRules}, yours, nModels) {
  const outcome = outcomeOf(rule, yours), said = {holds: "holds", fails: "fails", undecided: "is undecided"}[outcome];
  const agrees = outcome === book.outcome;
  const booksOwn = agrees ? `The book agrees: ${numbersOf(book)}.` : `The book does not agree: there it ${{holds: "holds", fails: "fails", undecided: "is undecided"}[book.outcome]}, with ${numbersOf(book)}.`;
  const others = nRules > 1 ? ` Its verdict, ${verdict}, rests on ${plural(nRules - 1, "further rule")}.` : ` Its verdict: ${verdict}.`;
  return {agrees, outcome, words: `Your ${thousands(nModels)} models: ${numbersOf(yours)}. “${rule.words}” ${said}. ${booksOwn}${others}`};
}

/** The button on a card, and what it does. */
export class Rerun {
  constructor(host, spec = JSON.parse(host.dataset.run)) {
    this.spec = spec;
    this.root = host.shadowRoot ?? host.attachShadow({mode: "open"});
    const seed = Math.floor(Math.random() * USUAL);
    this.root.innerHTML = `<style>${RERUN_STYLE}</style><section class="rerun" aria-label="Run ${spec.id} again">
      <form class="row" novalidate><label>Seeds from <input id="seed" type="number" inputmode="numeric" min="0" max="${MOST_SEED}" step="1" value="${seed}"></label>
      <button id="run" type="submit">Run again with my seeds</button></form>
      <div id="panel" hidden><progress id="bar" max="1" value="0" aria-label="Progress of the run"></progress>
      <div class="both"><span aria-hidden="true">yours<br>book</span><svg id="plot" role="img" width="100%" height="48" aria-label="No interval yet"></svg></div>
      <p id="said" role="status" aria-live="off"></p></div>
      <details><summary>What this runs</summary><p>${spec.words}</p></details></section>`;
    this.part = Object.fromEntries([...this.root.querySelectorAll("[id]")].map(node => [node.id, node]));
    this.root.querySelector("form").addEventListener("submit", event => {
      event.preventDefault();
      if (this.run) this.run.stop();
      else this.begin();
    });
  }
  get perStream() {
    return this.spec.settings[0].perStream;
  }
  say(words, final = false) {
    this.part.said.setAttribute("aria-live", final ? "polite" : "off");
    this.part.said.textContent = words;
  }
  show(yours) {
    this.part.plot.innerHTML = drawInterval(this.spec, yours);
    this.part.plot.setAttribute("aria-label", `Above, yours: ${yours ? numbersOf(yours) : "none yet"}; below, the book's: ${numbersOf(this.spec.book)}; grey, what the rule allows (${this.spec.rule.words})`);
  }
  nModels(streams) {
    return streams * this.perStream * this.spec.settings.length;
  }
  async begin() {
    const {spec, part} = this, seed = Math.min(MOST_SEED, Math.max(0, Math.floor(Number(part.seed.value)) || 0));
    part.seed.value = seed;
    part.panel.hidden = false;
    part.run.textContent = "Stop";
    part.bar.value = 0;
    part.bar.hidden = false;
    this.found = this.result = null;
    this.show(null);
    this.say("Training");
    const run = (this.run = new Run(spec, seed, {
      progressed: share => (part.bar.value = share),
      formed: streams => {
        if (run.stopped || streams.length < 2) return;
        this.found = intervalOf(spec, streams);
        this.show(this.found);
        this.say(`After ${thousands(this.nModels(streams.length))} of ${thousands(this.nModels(spec.streams))} models: ${numbersOf(this.found)}`);
      },
    }));
    try {
      await run.start();
      this.end(run);
    } catch (error) {
      this.say(`The run broke off: ${error.message}.`, true);
    } finally {
      run.stop();
      for (const worker of run.workers) worker.terminate();
      this.run = null;
      part.run.textContent = "Run again with my seeds";
    }
  }
  end(run) {
    const {spec, found} = this, whole = run.streams.length === spec.streams;
    const nDone = this.nModels(run.streams.length), first = run.first * this.perStream;
    if (!found) return this.say("Stopped before there was an interval.", true);
    const {agrees, outcome, words} = conclusion(spec, found, nDone);
    const seeds = `seeds ${first} to ${first + spec.streams * this.perStream - 1}`;
    this.result = {...found, agrees, outcome, whole, how: run.how.name, workers: run.workers.length, seconds: run.seconds};
    const stopped = whole ? "" : `Stopped after ${run.streams.length} of ${spec.streams} streams. `;
    this.say(`${stopped}${words} Trained with ${seeds} in ${run.seconds.toFixed(1)} s: ${run.manner}.`, true);
    this.part.bar.hidden = whole;
  }
}

if (!inWorker && typeof document !== "undefined")
  for (const host of document.querySelectorAll("div.toylib-rerun"))
    if (!host.shadowRoot) host.rerun = new Rerun(host);
