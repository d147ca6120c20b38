// The page: controls, and the hosts that show a lab. It stands after pictures.mjs in the same module.

// --- the page --------------------------------------------------------------------------------------------

const SPARSITIES = [...Array.from({length: 19}, (_, k) => (5 * k) / 100), ...Array.from({length: 9}, (_, k) => (91 + k) / 100), 0.995];
const nearest = (values, wanted) => values.reduce((best, value, k) => (Math.abs(value - wanted) < Math.abs(values[best] - wanted) ? k : best), 0);
const TASKS = {output: "ReLU output", copy: "Neurons, copy", absolute: "Neurons, |x|"};
const SETS = {none: "independent", "together-2": "together, in twos", "together-3": "together, in threes", "apart-2": "one at a time, of two", "apart-3": "one at a time, of three"};
const SHARED_LONGEST = ["10 must be shared to copy 18 features exactly, one at a time", "shared with room: 20 features could have clean neurons"];
const SPEEDS = {slow: ["slow: 20/s", 20], medium: ["medium: 400/s", 400], fast: ["fastest", 1e6]}; // steps a second
const LENGTHS = [500, 1000, 2000, 4000, 10000];
const ROOMS = [1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1, 4 / 3, 3 / 2, 2, 3, 4]; // hidden units for each feature
const BESIDE = [0, 0.5, 0.8, 0.9, 0.95]; // sparsities that are shown side by side
const STARTS = 20; // of a search
const UNDONE = 50; // changes, at most
const ANGLES = {turn: 25, tilt: 20};
const VIEW_TITLES = {
  plane: "Direction of each feature; 0 matters most. Drag a tip", solid: "Direction of each feature; 0 matters most. Drag to turn",
  copy: "Input weights of each neuron, stacked by feature", absolute: "Input weights of each neuron, stacked by feature; largest = 1",
};
const BARS_TITLES = {
  directions: "Share of a dimension that each feature gets", neurons: "How far each feature moves its own output",
  probe: (first, size) => (size > 1 ? `All outputs when features ${first} to ${first + size - 1} are on` : `All outputs when feature ${first} is on`),
};
const DASH = '<span class="dash" aria-hidden="true"></span>', DOT = '<span class="dot" aria-hidden="true">●</span>';
const LOSS_TITLES = [`Loss in training, now ${DOT}, and the best without superposition ${DASH}`, `Loss in training, and now ${DOT}`];
const LONG_STATUS = `Of ${STARTS} starts: 5 features in 12, 4 features in 7, 3 features in 1. Seed 1234 has the lowest loss, 0.0012. Step 10,000 of 10,000 since the last change. 20 of 20 features represented by 12 neurons: 10 monosemantic, 12 polysemantic, 0 dead (2 x 3 in 2 + 8 clean); 10 must be shared to copy 18 features exactly, one at a time. Loss 0.0012, 0.0012 of the best without superposition.`;
const LONG_STATE = "Done: 4 of 5, two antipodal pairs at right angles; 75% sparse, density 0.25.";
const EXERCISES_HERE = Object.entries(EXERCISES).filter(([, {place}]) => place === "lab");
const REFRESH = 100, EVALUATE = 250; // milliseconds between two texts, two held-out losses, while a model trains
const FRAME_BUDGET = 9, HELD_BUDGET = 3; // milliseconds of training between two pictures; while a control moves
const HELD = 300; // milliseconds after its last move in which a control counts as moving

/** How many hidden units there may be, and those that the room's slider stops at. */
const unitsOf = ({task}) => (task === "output" ? DRAWN : LIMITS.m);
const roomsOf = state => [...new Set(ROOMS.map(room => Math.round(room * state.n)).filter(m => m >= unitsOf(state)[0] && m <= unitsOf(state)[1]))];

const options = entries => entries.map(([value, text]) => `<option value="${value}">${text}</option>`).join("");
const choice = (id, text, entries) => `<div class="field"><label for="${id}">${text}</label><select id="${id}">${options(Object.entries(entries))}</select></div>`;
const slider = (id, text, low, high, step) =>
  `<div class="field" id="${id}-field"><div class="row"><label for="${id}">${text}</label><output for="${id}" id="${id}-value"></output></div><input type="range" id="${id}" min="${low}" max="${high}" step="${step}"></div>`;
/** A place for a text that changes, as high as the longest that it may hold, so that nothing below it moves. */
const steady = (tag, attributes, texts) =>
  `<div class="steady"><${tag} ${attributes}></${tag}>${texts.map(text => `<${tag} class="ruler" aria-hidden="true">${text}</${tag}>`).join("")}</div>`;
const picture = (id, wide, high, titles) =>
  `<figcaption>${steady("span", `id="${id}-title"`, titles)}</figcaption><svg id="${id}" role="img" viewBox="0 0 ${wide} ${high}" aria-labelledby="${id}-title"></svg>`;
const counted = (...entries) => entries.map(([term, value, kind = ""]) => `<div class="${kind}"><dt>${term}</dt><dd>${value}</dd></div>`).join("");
const ownWords = title => `Settings of your own, from “${title}”. Choose an experiment to go back.`;
const legend = kind => `<svg class="key" viewBox="-8 -8 16 16" aria-hidden="true"><path class="mark ${kind}" d="${KIND_MARKS[kind](0, 0, 5)}"/></svg>`;

/** A circle that gets a tick: the sign before an exercise's state. */
const TICK = '<svg viewBox="0 0 18 18" aria-hidden="true"><circle cx="9" cy="9" r="7.5"/><path d="M5.4 9.4L8 12L12.8 6.4"/></svg>';

const STYLE = `
:host { display: block; scroll-margin-top: 12px; container-type: inline-size; margin: 0.5rem 0; text-align: left; }
.lab { --ink: #1b1f24; --soft: #57606a; --paper: #ffffff; --panel: #f5f7f9; --line: #d3d9df; --accent: #0a5ea8; --on-accent: #ffffff;
  --mono: #0072b2; --poly: #d55e00; --dead: #6e7781; --curve: #0072b2;
  font: 400 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: var(--ink);
  background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 14px; box-sizing: border-box; overflow-anchor: none; }
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
button[aria-disabled=true] { opacity: 0.45; cursor: default; }
button.main { background: var(--accent); border-color: var(--accent); color: var(--on-accent); font-weight: 600; min-width: 92px; }
button.main:hover { filter: brightness(1.08); color: var(--on-accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 6px; }
.steady { display: grid; grid-template-columns: minmax(0, 1fr); } .steady > * { grid-area: 1 / 1; } .ruler { visibility: hidden; }
.watch { margin: 10px 0; color: var(--soft); }
.stage { display: grid; grid-template-columns: minmax(0, 1fr); gap: 8px 12px; }
.stage > * { background: var(--panel); border-radius: 10px; padding: 10px 12px; min-width: 0; }
.sight { display: grid; grid-template-rows: auto 1fr auto auto; align-items: center; gap: 4px; }
.side { display: grid; gap: 10px; align-content: start; }
.foot { display: grid; align-items: center; min-height: 52px; } .foot > * { grid-area: 1 / 1; } .foot > .off { visibility: hidden; }
.angles { display: grid; grid-template-columns: 1fr 1fr; gap: 0 16px; }
.plane .tip, .plane text { cursor: grab; touch-action: none; }
.legend { font-size: 13px; color: var(--soft); }
progress { display: block; width: 100%; height: 5px; border: 0; border-radius: 3px; background: var(--line); overflow: hidden; appearance: none; }
progress::-webkit-progress-bar { background: var(--line); } progress::-webkit-progress-value { background: var(--accent); }
progress::-moz-progress-bar { background: var(--accent); }
.time { display: grid; align-items: center; } .time > * { grid-area: 1 / 1; }
#scrub { appearance: none; background: none; height: 24px; cursor: pointer; }
#scrub::-webkit-slider-thumb { appearance: none; width: 16px; height: 16px; border-radius: 8px; background: var(--accent); border: 2px solid var(--panel); }
#scrub::-moz-range-thumb { width: 12px; height: 12px; border-radius: 8px; background: var(--accent); border: 2px solid var(--panel); } #scrub::-moz-range-track { background: none; }
figcaption { font-size: 13px; color: var(--soft); }
svg { display: block; width: 100%; height: auto; overflow: visible; font-family: inherit; }
#view.solid { cursor: grab; touch-action: pan-y pinch-zoom; } input[type=range] { touch-action: pan-y pinch-zoom; }
#view.solid:active { cursor: grabbing; }
.guide { stroke: var(--line); stroke-width: 1; fill: none; }
.axis { stroke: var(--soft); stroke-width: 1; fill: none; }
.hull { fill: var(--accent); fill-opacity: 0.1; stroke: var(--accent); stroke-opacity: 0.5; stroke-width: 1.2; stroke-linejoin: round; }
.edge { stroke: var(--accent); stroke-width: 1.2; }
.tip, .piece { stroke: var(--panel); stroke-width: 1; }
.tick { font-size: 11.5px; fill: var(--soft); }
.curve { fill: none; stroke: var(--curve); stroke-width: 1.8; stroke-linejoin: round; }
.reference { stroke: var(--poly); stroke-width: 1.4; stroke-dasharray: 5 4; fill: none; }
.now { fill: var(--curve); stroke: var(--panel); stroke-width: 1; } .dot { color: var(--curve); font-size: 11px; }
.turn { stroke: var(--soft); stroke-width: 1; stroke-dasharray: 1 3; fill: none; }
.mark.monosemantic { fill: var(--mono); } .mark.polysemantic { fill: var(--poly); } .mark.dead { stroke: var(--dead); stroke-width: 2.2; fill: none; }
.key { display: inline-block; width: 15px; height: 15px; vertical-align: -2px; margin-right: 4px; }
.dash { display: inline-block; width: 22px; border-top: 2px dashed var(--poly); vertical-align: middle; }
.counts { align-content: start; display: grid; grid-template-columns: repeat(6, minmax(0, 1fr)); gap: 6px 10px; }
.counts div { grid-column: span 3; } .counts .third { grid-column: span 2; }
.counts dt { font-size: 13px; color: var(--soft); }
.counts dd { font-size: 20px; font-weight: 650; font-variant-numeric: tabular-nums; line-height: 1.2; }
.counts .third dt { font-size: 12px; line-height: 18.85px; } .counts .wide { grid-column: 1 / -1; } .counts .wide dd { font-size: 16px; line-height: 1.4; font-weight: 600; min-height: 2.8em; }
.controls { display: grid; grid-template-columns: 1fr 1fr; gap: 6px 16px; }
.field { min-width: 0; } .row { display: flex; justify-content: space-between; gap: 8px; white-space: nowrap; } .more { display: none; }
label { font-size: 13px; color: var(--soft); } output { white-space: nowrap; font-weight: 600; font-variant-numeric: tabular-nums; font-size: 14px; }
input[type=range] { display: block; width: 100%; height: 28px; margin: 0; accent-color: var(--accent); }
.pair { display: flex; gap: 6px; } .pair input { min-width: 0; }
.status { margin-top: 10px; font-size: 14px; font-variant-numeric: tabular-nums; }
button.icon { padding: 0 9px; } button.icon svg { width: 20px; height: 20px; fill: none; stroke: currentColor; stroke-width: 2; stroke-linecap: round; stroke-linejoin: round; }
.save button { min-height: 32px; font-size: 13px; } [data-feature] { cursor: pointer; } .cell { stroke: none; } .number { font-size: 11px; fill: var(--ink); }
.here { fill: var(--accent); stroke: var(--panel); stroke-width: 1.5; } #here { font-size: 14px; margin: 4px 0; min-height: 8.8em; }
.need { align-self: center; } .need > * { align-self: center; } .need .legend { line-height: 1.3; }
details { margin-top: 4px; font-size: 13px; } summary { cursor: pointer; color: var(--soft); padding: 4px 0; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 2px 8px; text-align: right; border-bottom: 1px solid var(--line); font-weight: 400; } th { color: var(--soft); }
.goal { display: grid; grid-template-columns: 18px minmax(0, 1fr); gap: 6px; } .goal svg { width: 18px; height: 18px; margin-top: 1px; }
.goal circle { fill: none; stroke: var(--soft); stroke-width: 2; } .goal path { fill: none; stroke: none; stroke-width: 2.4; stroke-linecap: round; stroke-linejoin: round; }
.goal.done circle { fill: var(--accent); stroke: var(--accent); } .goal.done path { stroke: var(--on-accent); }
.list { font-size: 14px; padding-left: 22px; margin: 4px 0 8px; } .list li { padding: 6px 0; } .list .row { align-items: center; white-space: normal; margin-top: 4px; } .list button { min-height: 32px; font-size: 13px; flex: none; }
.beside { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(130px, 45%), 1fr)); gap: 10px; margin: 6px 0; } .beside figure { background: var(--panel); border-radius: 10px; padding: 8px; }
.beside text { display: none; } .beside .tip { r: 19px; } .beside [data-feature] { cursor: auto; } .beside path[stroke-width] { stroke-width: 9; } .beside .guide, .beside .axis { stroke-width: 2.5; } .beside .mark { display: none; }
.beside figcaption { color: var(--ink); min-height: 4.4em; } .beside figcaption b { display: block; }
[hidden] { display: none !important; }
@container (max-width: 399px) { .lab { padding: 10px; } .stage > * { padding: 8px 10px; } .buttons { gap: 6px; } button { padding: 0 9px; } button.main { min-width: 82px; } }
@container (min-width: 620px) {
  .lab { padding: 18px; } .top .field { flex-basis: 240px; }
  .stage { grid-template-columns: minmax(0, 5fr) minmax(0, 4fr); gap: 12px; } .side { grid-area: 1 / 2; } .controls { grid-column: 1 / -1; gap: 10px 20px; }
  .sliders { grid-template-columns: repeat(4, minmax(0, 1fr)); } .need { grid-column: 2 / -1; } .others { grid-template-columns: repeat(3, minmax(0, 1fr)); } #speed, #seed, #steps, #probe { min-width: 0; } #through, #diagram { max-width: 460px; }
}
@container (min-width: 860px) { .more { display: inline; } }
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
      <button type="button" id="undo" class="icon" aria-label="Undo" title="Undo"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M8 5L3 10L8 15M3 10H14A6 6 0 0 1 14 20H10"/></svg></button>
      <button type="button" id="redo" class="icon" aria-label="Redo" title="Redo"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M16 5L21 10L16 15M21 10H10A6 6 0 0 0 10 20H14"/></svg></button>
      <button type="button" id="search">Best of ${STARTS} starts</button>
      <button type="button" id="link">Copy link</button>
    </div>
  </div>
  <div class="steady watch"><div><p id="watch"></p><div class="goal" id="goal" hidden>${TICK}<span id="goal-state" role="status" aria-live="off"></span></div></div>
    ${Object.values(PRESETS).flatMap(({title, watch}) => [watch, ownWords(title)]).map(text => `<p class="ruler" aria-hidden="true">${text}</p>`).join("")}
    ${EXERCISES_HERE.map(([, {title, ask}]) => `<div class="ruler" aria-hidden="true"><p>${title}. ${ask}</p><div class="goal">${TICK}<span>${LONG_STATE}</span></div></div>`).join("")}</div>
  <div class="stage">
    <figure class="sight">
      ${picture("view", WIDE, HIGH, Object.values(VIEW_TITLES))}
      <div class="foot">
        <div class="angles" id="angles">${slider("turn", "Turn", -180, 180, 5)}${slider("tilt", "Tilt", -90, 90, 5)}</div>
        <p class="legend" id="legend"></p>
      </div>
      <div class="time"><progress id="progress" max="1" value="0" aria-label="Training"></progress><input type="range" id="scrub" min="0" max="${MARKS}" step="1" value="0" aria-label="Step of training that is shown" title="Drag back to an earlier step"></div>
    </figure>
    <div class="controls sliders" role="group" aria-label="Data and size">
      ${slider("sparsity", "Sparsity", 0, SPARSITIES.length - 1, 1)}
      ${slider("decay", 'Importance<span class="more"> decay</span>', LIMITS.decay[0], LIMITS.decay[1], 0.01)}
      ${slider("n", "Features", LIMITS.n[0], LIMITS.n[1], 1)}
      ${slider("m", "Hidden units", LIMITS.m[0], LIMITS.m[1], 1)}
      ${slider("room", 'Room<span class="more">: units a feature</span>', 0, 1, 1)}
      ${steady("p", 'class="legend" id="needed"', SHARED_LONGEST).replaceAll('class="ruler"', 'class="legend ruler"').replace('class="steady"', 'class="steady need"')}
    </div>
    <div class="controls others" role="group" aria-label="Model and training">
      ${choice("task", "Model", TASKS)}
      ${choice("sets", "Features are active", SETS)}
      <div class="field"><label for="seed">Seed</label><div class="pair"><input type="number" id="seed" min="${LIMITS.seed[0]}" max="${LIMITS.seed[1]}" step="1" inputmode="numeric"><button type="button" id="next">Next</button></div></div>
      ${choice("steps", "Training steps", Object.fromEntries(LENGTHS.map(k => [k, thousands(k)])))}
      ${choice("speed", "Speed", Object.fromEntries(Object.entries(SPEEDS).map(([key, [text]]) => [key, text])))}
      ${choice("probe", "Switch on", {})}
    </div>
    <div class="side">
      ${steady("dl", 'class="counts" id="counts"', [counted(["features represented", "20 of 20"], ["relative loss", "0.0012"], ...KINDS.map(kind => [kind, "12", "third"]), ["features in neurons", "3 in 2", "wide"])]).replace('class="ruler"', 'class="counts ruler"')}
      <figure>${picture("bars", SIDE, 116, [BARS_TITLES.directions, BARS_TITLES.neurons, BARS_TITLES.probe(15, 3)])}</figure>
      <figure>${picture("loss", SIDE, 116, LOSS_TITLES)}</figure>
    </div>
  </div>
  ${steady("p", 'class="status" id="status" role="status" aria-live="off"', [LONG_STATUS]).replace('class="ruler"', 'class="status ruler"')}
  <div class="buttons save"><button type="button" id="png">Save picture</button><button type="button" id="json">Save model</button> <button type="button" id="embed">Copy code to embed</button></div>
  <details id="exercises"><summary>Exercises that check themselves: <span id="score"></span></summary><ol class="list">${EXERCISES_HERE.map(([name, {title, ask}]) =>
    `<li data-exercise="${name}"><p><b>${title}.</b> ${ask}</p><div class="row"><div class="goal">${TICK}<span class="state"></span></div><button type="button">Set up</button></div></li>`).join("")}</ol></details>
  <details id="beside"><summary>The same start at five sparsities</summary>
    <p class="legend">Each is trained to its end with the other settings as they are. Colours are those of the picture above.</p>
    <div class="beside">${BESIDE.map(() => `<figure><svg role="img" viewBox="0 0 ${WIDE} ${HIGH}" aria-label="not trained yet"></svg><figcaption></figcaption></figure>`).join("")}</div></details>
  <details id="phases"><summary>You are here: the phase diagram</summary>
    <p class="legend">What the theory makes of a feature for which no dimension is left: it is left out, or stored opposite another. Upwards: its importance as a share of the other's. A mark for each pair that there could be.</p>
    <svg id="diagram" role="img" viewBox="0 0 ${DIAGRAM.join(" ")}" aria-labelledby="here"></svg>
    <p id="here"></p></details>
  <details id="matrix"><summary>What each feature gives each output</summary>
    <p class="legend">A column for each feature, on alone; a row for each output; b is the bias. Without a ReLU on the hidden layer it is the paper's W<sup>T</sup>W.</p>
    <svg id="through" role="img" viewBox="0 0 ${SQUARE + 60} ${SQUARE}" aria-label="A matrix: columns are features, rows are outputs; blue is positive, orange negative. The table below has the weights it is made of."></svg></details>
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
    Object.assign(this, {host, name, onChange, preset: state, angles: {...ANGLES}, touched: -Infinity, past: [], future: [], lit: null, probed: null, exercise: null, solved: new Set()});
    this.root = host.shadowRoot ?? host.attachShadow({mode: "open"});
    this.root.innerHTML = `<style>${STYLE}</style>${PAGE}`;
    this.part = Object.fromEntries([...this.root.querySelectorAll("[id]")].map(node => [node.id, node]));
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.controller = new AbortController();
    this.listen();
    const linked = name && readAddress(location.hash, name);
    this.isOwn = Boolean(linked);
    this.written = JSON.stringify(linked || null);
    this.set(linked || state, {begin: false});
    this.themed();
    // a page that is loaded again, or gone back to, is where the reader left it
    if (linked && !["reload", "back_forward"].includes(performance.getEntriesByType("navigation")[0]?.type)) this.land();
    // a lab begins when half of its picture is first seen, and rests while nothing of it is
    const first = new IntersectionObserver(entries => {
      if (!entries.some(({intersectionRatio}) => intersectionRatio >= 0.5)) return;
      first.disconnect();
      if (!this.trainer.total && !this.past.length) this.run();
    }, {threshold: 0.5});
    first.observe(this.part.view);
    const rest = new IntersectionObserver(entries => {
      this.isAway = !entries.at(-1).isIntersecting;
      if (!this.isAway && this.running) this.resume();
    });
    rest.observe(host);
    this.watchers = [first, rest];
  }

  // settings ............................................................................................

  /** Take a whole state: show the model whose weights come with it, or else train one from the start. */
  set(changes, {begin = true} = {}) {
    this.running = false;
    this.state = complete(changes);
    for (const [angle, end] of [["turn", 180], ["tilt", 90]]) this.angles[angle] = clamp(Number(changes[angle] ?? ANGLES[angle]) || 0, [-end, end]);
    this.restart();
    if (changes.w && this.trainer.adopt(unpack(changes.w), changes.at) && this.trainer.total) this.pause();
    else if (begin) this.run();
  }

  /** A link leads to its first lab. */
  land() {
    if (/lab-\d+(?=:)/.exec(location.hash)?.[0] !== this.name) return;
    const go = () => this.host.scrollIntoView({block: "start", behavior: "instant"});
    go();
    const there = scrollY; // what loads above the lab later may move it
    if (document.readyState !== "complete") window.addEventListener("load", () => scrollY === there && go(), {once: true, signal: this.controller.signal});
  }

  /** Take the reader's change. A model of other size or task starts afresh; other data go on from its weights. */
  change(changes) {
    this.settle();
    this.keep(Object.keys(changes)[0]);
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
  remember({push = false} = {}) {
    this.gesture = null;
    this.onChange(changesOf(this.state));
    this.isOwn = true;
    this.write({push});
  }

  /** Keep the page's address at the model that is seen, once the reader has made it theirs. */
  write({push = false, keepPlace = false} = {}) {
    if (!this.name || !this.isOwn) return;
    const {trainer, angles} = this, beside = {};
    for (const key of ["turn", "tilt"]) if (this.isSolid() && angles[key] !== ANGLES[key]) beside[key] = Math.round(angles[key]);
    if (!trainer.follows) Object.assign(beside, {at: trainer.done, w: pack(weightsOf(trainer.model).flatMap(array => [...array]))});
    try {
      const address = writeAddress(location.hash, this.name, this.state, {beside, keepPlace});
      history[push ? "pushState" : "replaceState"]({...history.state, isOfLab: true}, "", address);
      this.written = JSON.stringify(readAddress(address, this.name));
    } catch {
      // a page within a sandbox has no address to write to
    }
  }

  isSolid() {
    return this.state.task === "output" && this.state.m === 3;
  }

  /** Leave what there is for another state, and for an exercise if one is named. */
  turnOver(state, exercise = null) {
    this.settle();
    this.exercise = exercise;
    this.keep();
    this.remember(); // so that Back leads to what is left
    this.set({...state, speed: this.state.speed});
    this.remember({push: true});
  }

  /** Show an earlier step of this training, at rest; Run goes on from there. */
  rewind(mark) {
    this.settle();
    this.running = false;
    this.trainer.rewind(mark);
    this.prefix = "";
    this.draw();
    this.label();
  }

  // side by side ........................................................................................

  /** Train the same start at several sparsities, where the reader has asked to see them. */
  compare() {
    if (!this.part.beside.open) return;
    const wanted = JSON.stringify({...this.state, sparsity: 0, speed: "", preset: ""});
    if (wanted === this.compared) return;
    this.compared = wanted;
    this.others = BESIDE.map(sparsity => new Trainer(complete({...this.state, sparsity})));
    this.others.forEach((_, k) => this.drawOther(k));
    this.comparing ??= requestAnimationFrame(() => this.trainOthers());
  }

  trainOthers() {
    this.comparing = null;
    if (this.controller.signal.aborted) return;
    const until = performance.now() + FRAME_BUDGET, k = this.others.findIndex(({finished}) => !finished);
    if (k < 0) return;
    while (!this.others[k].finished && performance.now() < until) this.others[k].step();
    if (this.others[k].finished) this.drawOther(k);
    this.comparing = requestAnimationFrame(() => this.trainOthers());
  }

  drawOther(k) {
    const trainer = this.others[k], {model, state, finished} = trainer, seen = measure(trainer), figure = this.part.beside.querySelectorAll("figure")[k];
    const [svg, caption] = figure.children, words = finished ? found(model, seen) : "training";
    (model.task === "output" ? drawVectors : drawStacks)(svg, trainer, seen, {dark: this.dark, ...this.angles});
    svg.setAttribute("aria-label", `${percent(state.sparsity)} sparse: ${words}`);
    caption.innerHTML = `<b>${percent(state.sparsity)}</b>${words}`;
  }

  // undo ................................................................................................

  snapshot() {
    return {state: this.state, angles: {...this.angles}, trainer: this.trainer.copy(), running: this.running};
  }

  /** Before a change: what Undo gives back. All moves of one control until it is let go are one change. */
  keep(control = null) {
    if (control && control === this.gesture) return;
    this.gesture = control;
    this.past = [...this.past.slice(1 - UNDONE), this.snapshot()];
    this.future = [];
    this.label();
  }

  /** What the control in hand has changed was no change. */
  takeBack(control) {
    if (this.gesture === control) this.travel(this.past, []);
  }

  /** Go to the last snapshot of `from`; what there is now becomes the last of `to`. */
  travel(from, to) {
    if (!from.length) return;
    this.settle();
    to.push(this.snapshot());
    Object.assign(this, from.pop());
    this.controls();
    this.remember();
    if (this.running && !this.trainer.finished) this.run();
    else this.pause();
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
    this.prefix = "";
    this.label();
    this.resume();
  }

  resume() {
    this.owed = 0;
    this.last = performance.now();
    this.frame ??= requestAnimationFrame(now => this.tick(now));
  }

  pause() {
    this.running = false;
    const words = this.settle();
    this.label();
    this.draw();
    this.say(words);
    this.write();
  }

  /**
   * End a search: the model that it leaves has a seed, which the page and its address name from now on.
   * Returns what the search has found, in words.
   */
  settle() {
    if (!this.search) return "";
    const words = this.found();
    this.search = null;
    this.state = complete({...this.state, seed: this.trainer.state.seed});
    this.controls();
    this.remember();
    return words;
  }

  /** Between two pictures: train as long as the budget allows, and no faster than was asked for. */
  tick(now) {
    this.frame = null;
    if (!this.running || this.isAway) return;
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
      if (search.results.length === STARTS) return this.pause();
    }
  }

  /** What a search has found, or found so far. */
  found() {
    const {results} = this.search, output = this.state.task === "output", all = results.length === STARTS;
    if (!results.length) return "Stopped before the first start had ended. ";
    const tally = new Map();
    for (const {seen} of results) {
      const word = output ? plural(seen.nRepresented, "feature") : `${seen.counts[2]} polysemantic`;
      tally.set(word, (tally.get(word) ?? 0) + 1);
    }
    const words = [...tally].sort((a, b) => b[1] - a[1]).map(([word, times]) => `${word} in ${times}`).join(", ");
    const first = all ? `Of ${STARTS} starts` : `Stopped after ${results.length} of ${STARTS} starts`;
    return `${first}: ${words}. Seed ${this.trainer.state.seed} has the lowest loss${all ? "" : " so far"}, ${short(Math.min(...results.map(result => result.loss)))}. `;
  }

  /** How far a search is, and how far it is in words. */
  searched() {
    const {results, trainer} = this.search, done = trainer?.done ?? 0, lowest = Math.min(...results.map(({loss}) => loss));
    const words = `Start ${Math.min(STARTS, results.length + 1)} of ${STARTS}, step ${thousands(done)} of ${thousands(this.state.steps)}.`;
    return [(results.length + done / this.state.steps) / STARTS, results.length ? `${words} Lowest loss so far ${short(lowest)}, seed ${this.trainer.state.seed}.` : words];
  }

  // what the reader does ................................................................................

  listen() {
    const {part} = this, on = (node, event, action) => node.addEventListener(event, action, {signal: this.controller.signal});
    on(part.run, "click", () => (this.running ? this.pause() : this.run()));
    on(part.undo, "click", () => this.travel(this.past, this.future));
    on(part.redo, "click", () => this.travel(this.future, this.past));
    on(this.root, "keydown", event => {
      if (!(event.ctrlKey || event.metaKey) || event.altKey || event.target.type === "number") return;
      const key = event.key.toLowerCase(), again = key === "y" || (key === "z" && event.shiftKey);
      if (!again && key !== "z") return;
      event.preventDefault();
      if (again) this.travel(this.future, this.past);
      else this.travel(this.past, this.future);
    });
    on(part.step, "click", () => {
      this.isOwn = true;
      this.settle();
      if (this.trainer.finished) this.trainer.aim(this.state);
      this.trainer.step();
      this.pause();
    });
    on(part.reset, "click", () => {
      this.settle();
      this.keep();
      this.isOwn = true;
      this.restart();
      this.pause();
    });
    on(part.search, "click", () => {
      this.settle();
      this.keep();
      this.restart();
      this.search = {first: this.state.seed, results: []};
      this.run();
    });
    const copy = text => navigator.clipboard?.writeText(text).then(() => true, () => false);
    on(part.link, "click", async () => {
      this.remember();
      this.say((await copy(location.href)) ? "Link copied. " : "The address of this page now leads here: copy it. ");
    });
    on(part.embed, "click", async () => {
      this.remember();
      const code = embedCode(location.href, this.name);
      this.say((await copy(code)) ? "Code copied: it shows this model in a page of yours. " : `Copy this: ${code} `);
    });
    on(part.next, "click", () => {
      this.change({seed: (this.state.seed + 1) % (LIMITS.seed[1] + 1)});
      this.remember();
    });
    on(part.preset, "change", () => {
      if (part.preset.value === "own") return this.controls();
      this.turnOver({preset: part.preset.value});
    });
    on(part.exercises, "click", event => {
      const name = event.target.closest("button") && event.target.closest("li").dataset.exercise;
      if (!name) return;
      this.turnOver(EXERCISES[name].state, name);
      this.host.scrollIntoView({block: "start", behavior: this.still.matches ? "instant" : "smooth"});
    });
    on(part.sparsity, "input", () => this.change({sparsity: SPARSITIES[part.sparsity.value]}));
    for (const key of ["decay", "n", "m"]) on(part[key], "input", () => this.change({[key]: Number(part[key].value)}));
    on(part.room, "input", () => this.change({m: roomsOf(this.state)[part.room.value]}));
    for (const key of ["task", "sets", "speed"]) on(part[key], "change", () => this.change({[key]: part[key].value}));
    for (const key of ["steps", "seed"]) on(part[key], "change", () => this.change({[key]: Number(part[key].value)}));
    for (const key of ["sparsity", "decay", "n", "m", "room", "task", "sets", "speed", "steps", "seed"]) on(part[key], "change", () => this.remember());
    on(part.scrub, "input", () => {
      if (!this.search) this.keep("scrub");
      this.rewind(Number(part.scrub.value));
    });
    on(part.scrub, "change", () => this.remember());
    on(part.scrub, "pointercancel", () => this.takeBack("scrub"));
    for (const key of ["turn", "tilt"]) {
      on(part[key], "input", () => {
        this.keep(key);
        this.turnTo({[key]: Number(part[key].value)});
      });
      on(part[key], "change", () => this.remember());
    }
    on(part.numbers, "toggle", () => this.table());
    on(part.beside, "toggle", () => this.compare());
    on(part.matrix, "toggle", () => this.drawSide());
    on(part.phases, "toggle", () => this.drawHere());
    on(part.probe, "change", () => this.probeAt(part.probe.value === "" ? null : Number(part.probe.value)));
    for (const svg of [part.view, part.bars]) {
      on(svg, "pointerover", event => event.pointerType !== "touch" && !this.held && this.light(event.target.closest("[data-feature]")));
      on(svg, "pointerleave", () => this.light(null));
      on(svg, "click", event => { // a solid that is held takes the click from its parts
        if (part.view.classList.contains("plane") && svg === part.view) return; // its tips know
        const {feature} = this.root.elementFromPoint(event.clientX, event.clientY)?.closest("[data-feature]")?.dataset ?? {};
        if (feature !== undefined && this.gesture !== "drag") this.probeAt(Number(feature) === this.probed ? null : Number(feature));
      });
    }
    on(part.png, "click", async () => this.save("png", await pictureOf(part.view, this.root.querySelector(".lab"), STYLE)));
    on(part.json, "click", () => this.save("json", new Blob([JSON.stringify(this.model(), null, 1)], {type: "application/json"})));
    on(part.view, "pointerdown", event => {
      if (part.view.classList.contains("plane")) return this.grasp(event);
      if (!this.isSolid()) return;
      part.view.setPointerCapture(event.pointerId);
      this.held = {x: event.clientX, y: event.clientY, ...this.angles};
    });
    on(part.view, "pointermove", event => {
      if (this.grasped) return this.pull(event);
      if (!this.held) return;
      const around = (this.held.turn + (event.clientX - this.held.x) / 2 + 180) % 360;
      const turn = (around < 0 ? around + 360 : around) - 180;
      this.keep("drag");
      // a finger turns: up and down it scrolls
      const tilt = event.pointerType === "touch" ? this.held.tilt : clamp(this.held.tilt + (event.clientY - this.held.y) / 2, [-90, 90]);
      this.turnTo({turn, tilt});
    });
    on(part.view, "pointerup", () => {
      const clicked = this.grasped && this.gesture !== "pull" ? this.grasped.i : null;
      this.held = this.grasped = null;
      if (clicked !== null) this.probeAt(clicked === this.probed ? null : clicked);
      if (this.gesture === "pull") this.pause();
      if (this.gesture === "drag" || this.gesture === "pull") this.remember();
    });
    on(part.view, "pointercancel", () => {
      this.held = this.grasped = null;
      this.takeBack("pull");
      this.takeBack("drag");
    });
    // where a finger that came down on a slider turns out to scroll, the slider has not been moved
    for (const key of ["sparsity", "decay", "n", "m", "turn", "tilt"]) on(part[key], "pointercancel", () => this.takeBack(key));
    on(part.room, "pointercancel", () => this.takeBack("m"));
    if (this.name) on(window, "hashchange", () => {
      const wanted = readAddress(location.hash, this.name);
      if (!wanted) return this.write({keepPlace: true}); // a click in the contents
      if (JSON.stringify(wanted) === this.written) return;
      this.settle();
      this.keep();
      this.set(wanted);
      this.isOwn = true;
      this.written = JSON.stringify(wanted);
      if (!history.state?.isOfLab) this.land(); // else the reader went back, and the browser scrolls
    });
    const themed = () => this.themed();
    on(matchMedia("(prefers-color-scheme: dark)"), "change", themed);
    this.observer = new MutationObserver(themed);
    for (const node of [document.documentElement, document.body]) this.observer.observe(node, {attributes: true});
  }

  /** Take hold of an arm in the plane. */
  grasp(event) {
    const node = event.target.closest("[data-feature]");
    if (!node) return;
    this.part.view.setPointerCapture(event.pointerId);
    const {model} = this.trainer, vectors = Array.from({length: model.n}, (_, i) => armOf(model, i));
    this.grasped = {isTip: node.localName !== "path", i: Number(node.dataset.feature), unit: unitOf(vectors), x: event.clientX, y: event.clientY};
  }

  /** The arm follows the pointer: a model of the reader's own, whose loss is seen at once. */
  pull(event) {
    const {i, unit, x, y} = this.grasped, box = this.part.view.getBoundingClientRect();
    if (!this.grasped.isTip) return; // an arm is there to be clicked
    if (this.gesture !== "pull" && Math.hypot(event.clientX - x, event.clientY - y) < 4) return; // a click
    this.settle();
    this.keep("pull");
    this.running = false;
    const arm = [((event.clientX - box.left) / box.width - 0.5) * WIDE, (0.5 - (event.clientY - box.top) / box.height) * HIGH].map(c => c / unit);
    const far = Math.min(1, 1.5 / norm(arm));
    this.trainer.place(i, arm.map(c => c * far).slice(0, this.state.m));
    this.evaluated = null;
    this.prefix = "";
    this.draw();
    this.label();
  }

  /** Parts of all pictures that are this feature's stand out. */
  light(node) {
    const lit = node ? Number(node.dataset.feature) : null;
    if (lit === this.lit) return;
    this.lit = lit;
    if (!this.running) this.draw();
  }

  /** Show all outputs when this feature is on; null shows the bars again. */
  probeAt(feature) {
    this.probed = feature;
    this.controls();
    this.draw();
  }

  /** The model in hand, for other programs: W_in and W_out have a row a feature. */
  model() {
    const {n, m, tied, W_in, W_out, b} = this.trainer.model, rows = W => Array.from({length: n}, (_, i) => Array.from(W.subarray(i * m, i * m + m)));
    return {settings: this.state, steps: this.trainer.total, loss: this.heldOutLoss(), W_in: rows(W_in), ...(tied ? {} : {W_out: rows(W_out)}), b: Array.from(b)};
  }

  save(kind, blob) {
    const link = Object.assign(document.createElement("a"), {href: URL.createObjectURL(blob), download: `toy-model.${kind}`});
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
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
    this.others?.forEach((_, k) => this.drawOther(k));
  }

  isHeld() {
    return performance.now() - this.touched < HELD;
  }

  // what the reader sees and hears ......................................................................

  label() {
    const text = this.running ? "Pause" : this.trainer.finished ? "Train on" : "Run";
    if (this.part.run.textContent !== text) this.part.run.textContent = text;
    for (const [name, steps] of [["undo", this.past], ["redo", this.future]]) this.part[name].setAttribute("aria-disabled", String(!steps.length));
  }

  controls() {
    const {part, state, angles} = this, own = Object.keys(changesOf(state)).some(key => !["preset", "speed", "seed"].includes(key));
    const {title, watch} = PRESETS[state.preset];
    this.root.querySelector(".lab").setAttribute("aria-label", `Toy model lab: ${own ? "settings of your own" : title}`);
    part.preset.value = own ? "own" : state.preset;
    const exercise = EXERCISES[this.exercise];
    part.watch.textContent = exercise ? `${exercise.title}. ${exercise.ask}` : own ? ownWords(title) : watch;
    part.goal.hidden = !exercise;
    for (const key of ["task", "sets", "speed", "seed", "decay", "n", "m"]) part[key].value = state[key];
    const lengths = [...new Set([...LENGTHS, state.steps])].sort((a, b) => a - b);
    if (lengths.length !== part.steps.length || !lengths.every((k, at) => part.steps.options[at].value === String(k)))
      part.steps.innerHTML = options(lengths.map(k => [k, thousands(k)]));
    part.steps.value = state.steps;
    if (this.probed >= state.n) this.probed = null;
    if (part.probe.options.length !== state.n + 1) part.probe.innerHTML = options([["", "no feature"], ...Array.from({length: state.n}, (_, i) => [i, `feature ${i}`])]);
    part.probe.value = this.probed ?? "";
    const at = nearest(SPARSITIES, state.sparsity);
    part.sparsity.min = nearest(SPARSITIES, lowestSparsity(state));
    part.sparsity.value = at;
    [part.m.min, part.m.max] = unitsOf(state);
    part.m.value = state.m;
    const rooms = roomsOf(state);
    part.room.max = rooms.length - 1;
    part.room.value = nearest(rooms, state.m);
    const solid = this.isSolid();
    part.angles.classList.toggle("off", !solid);
    part.legend.classList.toggle("off", solid);
    part.view.classList.toggle("solid", solid);
    part.view.classList.toggle("plane", state.task === "output" && !solid);
    const shown = {
      sparsity: percent(state.sparsity), decay: state.decay === 1 ? "equal" : `× ${state.decay.toFixed(2)}`, n: String(state.n), m: String(state.m), room: short(state.m / state.n),
      turn: `${Math.round(angles.turn)}°`, tilt: `${Math.round(angles.tilt)}°`,
    };
    for (const key of ["turn", "tilt"]) part[key].value = angles[key];
    for (const [key, text] of Object.entries(shown)) {
      part[`${key}-value`].textContent = text;
      part[key].setAttribute("aria-valuetext", key === "room" ? `${text}: ${plural(state.m, "hidden unit")} for ${plural(state.n, "feature")}` : text);
    }
    this.compare();
    part.link.hidden = part.embed.hidden = !this.name;
    const neurons = state.task !== "output";
    part["view-title"].textContent = VIEW_TITLES[neurons ? state.task : solid ? "solid" : "plane"];
    const [, first, size] = this.probed === null ? [] : probe(this.trainer.model, this.trainer.features, this.probed);
    part["bars-title"].textContent = this.probed === null ? BARS_TITLES[neurons ? "neurons" : "directions"] : BARS_TITLES.probe(first, size);
    part["loss-title"].innerHTML = LOSS_TITLES[this.trainer.features.independent ? 0 : 1];
    const words = neurons ? `${legend("monosemantic")}clean &ensp;${legend("polysemantic")}shared &ensp;${legend("dead")}dead` : "Shaded: the shape of the features represented";
    if (part.legend.innerHTML !== words && this.keyed !== words) part.legend.innerHTML = this.keyed = words;
    this.label();
  }

  /** All there is to see; while a control moves, the picture and what stands beside it take turns, for smoothness. */
  draw() {
    const turns = this.running && this.isHeld();
    this.beside = turns && !this.beside;
    this.seen = {...measure(this.trainer), loss: this.heldOutLoss()};
    if (this.probed !== null) [this.seen.outputs] = probe(this.trainer.model, this.trainer.features, this.probed);
    if (!this.beside) this.drawView();
    if (this.beside || !turns) this.drawSide();
  }

  /** The held-out loss of the model that is drawn: at rest on many inputs, in training on fewer and now and then. */
  heldOutLoss() {
    const {trainer} = this, {features, total} = trainer, now = performance.now(), samples = this.running || this.grasped ? SMALL_SAMPLE : LARGE_SAMPLE;
    const known = this.evaluated, same = known?.trainer === trainer && known.features === features;
    if (same && (known.total === total && known.samples >= samples || this.running && now - known.at < EVALUATE)) return known.loss;
    this.evaluated = {trainer, features, total, samples, at: now, loss: trainer.evaluate(samples)};
    return this.evaluated.loss;
  }

  drawView() {
    const {trainer, part, seen} = this, look = {dark: this.dark, lit: this.lit, ...this.angles};
    (trainer.model.task === "output" ? drawVectors : drawStacks)(part.view, trainer, seen, look);
  }

  drawSide() {
    const {trainer, part, seen} = this, look = {dark: this.dark, lit: this.lit};
    if (part.matrix.open) drawMatrix(part.through, trainer, look);
    this.drawHere();
    drawBars(part.bars, trainer, seen, look);
    drawLoss(part.loss, trainer, seen);
    const [dead, mono, poly] = seen.counts, ratio = seen.reference > 0 ? short(seen.loss / seen.reference) : null;
    const entries = [["features represented", `${seen.nRepresented} of ${trainer.model.n}`]];
    entries.push(ratio ? ["relative loss", ratio] : ["loss", short(seen.loss)]);
    if (trainer.model.task === "output") {
      if (ratio) entries.push(["loss", short(seen.loss), "third"]);
      entries.push(["arrangement", arrangement(trainer.model, seen.represented) || "no regular shape", "wide"]);
    } else {
      for (const [kind, count] of [["monosemantic", mono], ["polysemantic", poly], ["dead", dead]]) entries.push([kind, `${legend(kind)}${count}`, "third"]);
      entries.push(["features in neurons", describe(seen.parts), "wide"]);
    }
    const line = sharing(trainer, seen);
    if (part.needed.textContent !== line) part.needed.textContent = line;
    const words = counted(...entries);
    if (words !== this.words) part.counts.innerHTML = this.words = words;
    if (!this.running || performance.now() - this.spoken > REFRESH) this.speak();
  }

  /** Where the settings are on the phase diagram, and what the theory makes of them beside the model in hand. */
  drawHere() {
    const {part, state, seen} = this;
    if (!part.phases.open) return;
    const pairs = pairsOf(state), words = whereabouts(state, pairs, seen.nRepresented);
    drawPhases(part.diagram, state, pairs);
    if (part.here.textContent !== words) part.here.textContent = words;
  }

  /** What the model is, with `prefix` in front of it until training goes on. */
  say(prefix = "") {
    this.prefix = prefix;
    this.speak();
  }

  /** The status line follows training; a reader who listens hears it at every stop. */
  speak() {
    const {part, search, running} = this, [share, progress] = search ? this.searched() : [this.trainer.done / this.state.steps, ""];
    const text = progress || summary(this.trainer, this.seen);
    this.spoken = performance.now();
    part.progress.value = share;
    if (!search) part.scrub.value = Math.floor(MARKS * share);
    part.scrub.setAttribute("aria-valuetext", `step ${thousands(this.trainer.done)} of ${thousands(this.state.steps)}`);
    part.status.setAttribute("aria-live", running ? "off" : "polite");
    const words = this.prefix + text;
    if (part.status.textContent !== words) part.status.textContent = words;
    if (!running || !part.view.hasAttribute("aria-label")) part.view.setAttribute("aria-label", text);
    part.view.removeAttribute("aria-labelledby");
    this.check();
    this.table();
  }

  /** Which exercises the model in hand does; one that was done while the page was open stays counted. */
  check() {
    const rows = [...this.part.exercises.querySelectorAll("li")];
    for (const row of rows) {
      const {exercise} = row.dataset, {done, words} = this.search ? {words: "a search is on"} : answered(exercise, this.trainer, this.seen);
      if (done) this.solved.add(exercise);
      const text = `${done ? "Done" : this.solved.has(exercise) ? "Done before; now" : "Not yet"}: ${words}.`, said = row.querySelector(".state");
      row.querySelector(".goal").classList.toggle("done", this.solved.has(exercise));
      if (said.textContent !== text) said.textContent = text;
      if (exercise !== this.exercise) continue;
      this.part.goal.classList.toggle("done", Boolean(done));
      this.part["goal-state"].setAttribute("aria-live", this.running ? "off" : "polite");
      if (this.part["goal-state"].textContent !== text) this.part["goal-state"].textContent = text;
    }
    const score = `${this.solved.size} of ${rows.length} done`;
    if (this.part.score.textContent !== score) this.part.score.textContent = score;
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
    for (const watcher of this.watchers) watcher.disconnect();
  }
}

// --- hosts -----------------------------------------------------------------------------------------------

/** Put a lab into an element; a lab with a name keeps its state in the page's address. */
export function mount(host, settings) {
  return (host.lab = new Lab(host, settings));
}

/** HTML that shows a lab of this address, without what is around it, in another page. */
export function embedCode(address, name) {
  const url = new URL(address);
  url.search = `embed=${name}`;
  return `<iframe src="${url.href.replaceAll("&", "&amp;").replaceAll('"', "%22")}" title="A toy model that trains here" style="width: 100%; height: 960px; border: 0"></iframe>`;
}

/** Leave of the page this host alone, as wide as the window. */
function standAlone(host) {
  const set = (node, rules) => Object.entries(rules).forEach(([rule, value]) => node.style.setProperty(rule, value, "important"));
  for (let node = host; node !== document.body; node = node.parentElement) {
    for (const other of node.parentElement.children) if (other !== node) set(other, {display: "none"});
    set(node, {display: "block", margin: "0", padding: "0", "max-width": "none", "min-width": "0", width: "auto", border: "0"});
  }
}

/** Without a kernel: fill the places that a page has for labs, each once; `?embed=lab-1` shows one and nothing else. */
export function mountAll() {
  const only = new URLSearchParams(location.search).get("embed");
  for (const [k, host] of document.querySelectorAll(".toylib-lab").entries()) {
    const name = `lab-${k + 1}`;
    if (!host.lab) mount(host, {state: JSON.parse(host.dataset.state), name});
    if (only === name) standAlone(host);
  }
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
