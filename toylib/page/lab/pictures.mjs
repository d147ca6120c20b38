// Pictures of a model. They stand after measures.mjs in the same module.

// --- pictures --------------------------------------------------------------------------------------------

const SVG = "http://www.w3.org/2000/svg";
const LIGHTNESS = {light: [0.42, 0.58, 0.5], dark: [0.6, 0.8, 0.7]}; // of three neighbours, for contrast with the panel

/** The colour of B. Ottosson's OKLab with this lightness and hue, and as much of the chroma as a screen has. */
function oklch(lightness, chroma, hue) {
  for (; ; chroma -= 0.005) {
    const a = chroma * Math.cos(hue), b = chroma * Math.sin(hue);
    const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3, m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3;
    const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3;
    const linear = [4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s, -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s, -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s];
    if (chroma < 0.005 || linear.every(c => c >= 0 && c <= 1)) return linear.map(c => clamp(c, [0, 1]));
  }
}

/**
 * A feature's colour and the ink to write on it. Hues run from violet, the most important, to pink in both themes;
 * neighbours differ in lightness too. tests/test_lab.py measures how far apart any two of twenty are.
 */
export function featureColour(i, n, dark) {
  const hue = ((285 - (n > 1 ? (330 * i) / (n - 1) : 0)) * Math.PI) / 180;
  const linear = oklch(LIGHTNESS[dark ? "dark" : "light"][i % 3], 0.14, hue);
  const rgb = linear.map(c => Math.round(255 * (c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055)));
  return {fill: `rgb(${rgb})`, ink: 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] > 0.179 ? "#000" : "#fff"};
}

/** What marks a part of a picture as feature i's; where another one is pointed at, it steps back. */
const light = (i, lit) => ({"data-feature": String(i), ...((lit ?? i) === i ? {} : {opacity: 0.2})});

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
  if (k < 3 || m === 1) return [];
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
const SHORT = 0.15; // an arm that is shorter has no number at its tip

/** How far to move the tips of arms that lie on one another, so that they stand side by side: feature to [x, y]. */
function besideEachOther(model, features, tips, centre) {
  const moved = new Map();
  for (const group of coincident(model, features)) {
    const [x, y] = [tips[group[0]].x - centre.x, tips[group[0]].y - centre.y], long = Math.hypot(x, y) || 1;
    const far = group.map(i => Math.hypot(tips[i].x - centre.x, tips[i].y - centre.y)).sort((p, q) => p - q);
    if (far.every((r, k) => !k || r - far[k - 1] > 19)) continue; // told apart by their lengths
    group.forEach((i, k) => moved.set(i, [-y, x].map(c => (c / long) * 17 * (k - (group.length - 1) / 2))));
  }
  return moved;
}

/** How long an arm of length 1 is drawn. */
const unitOf = vectors => (0.44 * HIGH) / Math.max(1.1, Math.ceil(10 * Math.max(...vectors.map(norm))) / 10);

/** The features' directions: on a line and in the plane as they are, in space turned and seen from nearby. */
function drawVectors(svg, {model}, seen, {dark, turn, tilt, lit}) {
  const {n, m, W_in: W} = model, pen = new Pen(svg);
  const [a, b] = [turn, tilt].map(degrees => (degrees * Math.PI) / 180);
  const vectors = Array.from({length: n}, (_, i) => Array.from(W.subarray(i * m, i * m + m)));
  const unit = unitOf(vectors);
  const project = v => {
    if (m < 3) return {x: WIDE / 2 + unit * v[0], y: HIGH / 2 - unit * (v[1] ?? 0), z: 0, size: 1};
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
  const circles = {1: [], 2: [[0, 1]], 3: [[0, 1], [0, 2], [1, 2]]}[m];
  for (const axes of circles) pen.draw("path", {d: circle(axes), class: "guide"});
  if (m === 1) for (const end of [-1, 1]) pen.draw("path", {d: `M${WIDE / 2 + end * unit} ${HIGH / 2 - 9}v18`, class: "guide"});
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
  const aside = besideEachOther(model, order.filter(({long}) => long >= SHORT).map(({i}) => i).sort((p, q) => p - q), vectors.map(project), centre);
  for (const {i, at: tip, long} of order) {
    const {fill, ink} = featureColour(i, n, dark), small = long < SHORT, at = {...tip, x: tip.x + (aside.get(i)?.[0] ?? 0), y: tip.y + (aside.get(i)?.[1] ?? 0)};
    const own = light(i, lit);
    pen.draw("path", {d: path([centre, at]), stroke: fill, "stroke-width": 3.2 * at.size, "stroke-linecap": "round", fill: "none", ...own});
    pen.draw("circle", {cx: at.x, cy: at.y, r: (small ? 4 : 9.5) * at.size, fill, class: "tip", ...own});
    if (!small) pen.draw("text", {...own, x: at.x, y: at.y + 4 * at.size, fill: ink, "text-anchor": "middle", "font-size": 11.5 * at.size, "font-weight": 600}, String(i));
  }
  pen.trim();
}

const KIND_MARKS = {
  monosemantic: (x, y, r) => `M${x - r} ${y}a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0Z`,
  polysemantic: (x, y, r) => `M${x} ${y - 1.3 * r}L${x + 1.3 * r} ${y}L${x} ${y + 1.3 * r}L${x - 1.3 * r} ${y}Z`,
  dead: (x, y, r) => `M${x - r} ${y - r}L${x + r} ${y + r}M${x - r} ${y + r}L${x + r} ${y - r}`,
};

/** Each neuron as a stack of its input weights by feature, and a mark for its kind. */
function drawStacks(svg, {model}, seen, {dark, lit}) {
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
      pen.draw("rect", {x, y, width: wide, height: tall, fill, class: "piece", ...light(i, lit)});
      if (tall > 14 && wide > 17) pen.draw("text", {...light(i, lit), x: x + wide / 2, y: y + tall / 2 + 4, fill: ink, "text-anchor": "middle", "font-size": 11.5, "font-weight": 600}, String(i));
    });
    const kind = KINDS[seen.kinds[j]];
    pen.draw("path", {d: KIND_MARKS[kind](Math.round(x + wide / 2), HIGH - 13, 5), class: `mark ${kind}`});
  });
  pen.trim();
}

const SIDE = 320;

/** A bar for every feature, numbered, with lines at the levels that mean something. */
function drawBars(svg, {model}, seen, {dark, lit}) {
  const pen = new Pen(svg), {n} = model, high = 116, foot = 18, left = 30;
  const values = seen.outputs ?? seen.D ?? seen.gain, levels = seen.D && !seen.outputs ? {1: "1", 0.5: "1/2", 0.4: ""} : {1: "1", 0.5: "1/2"};
  const y = value => high - foot - (high - foot - 10) * clamp(value, [0, 1.1]) / 1.1;
  for (const [level, name] of [[0, "0"], ...Object.entries(levels)]) {
    pen.draw("path", {d: `M${left} ${y(level).toFixed(1)}H${SIDE}`, class: Number(level) ? "guide" : "axis"});
    if (name) pen.draw("text", {x: left - 5, y: y(level) + 4, "text-anchor": "end", class: "tick"}, name);
  }
  const step = (SIDE - left) / n;
  values.forEach((value, i) => {
    const x = left + (i + 0.5) * step, wide = Math.min(34, 0.76 * step);
    pen.draw("rect", {x: x - wide / 2, y: y(value), width: wide, height: Math.max(0, high - foot - y(value)), fill: featureColour(i, n, dark).fill, rx: 1.5, ...light(i, lit)});
    if (n <= 12 || i % 2 === 0) pen.draw("text", {x, y: high - 4, "text-anchor": "middle", class: "tick"}, String(i));
  });
  pen.trim();
}

/**
 * The loss over steps, on a log scale, with the held-out loss now, where settings changed, and from each change on
 * the best loss without superposition.
 */
function drawLoss(svg, trainer, seen) {
  const pen = new Pen(svg), high = 116, foot = 18, left = 42, {history, total, done, state} = trainer;
  const losses = history.map(([, loss]) => Math.max(loss, 1e-9));
  const spans = trainer.spans.map(({from, reference}, k) => ({from, reference, to: trainer.spans[k + 1]?.from ?? total - done + state.steps})).filter(({reference}) => reference > 0);
  const all = [...losses, ...spans.map(({reference}) => reference), Math.max(seen.loss, 1e-9)];
  const top = Math.max(...all, 1e-8) * 1.15, bottom = Math.max(1e-6 * top, Math.min(...all, top / 8) * 0.8);
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
  pen.draw("path", {d: spans.map(({from, to, reference}) => `M${x(from).toFixed(1)} ${y(reference).toFixed(1)}H${x(to).toFixed(1)}`).join(""), class: "reference"});
  if (history.length > 1) {
    const thin = Math.ceil(history.length / 160);
    const points = history.filter((_, k) => k % thin === 0 || k === history.length - 1);
    pen.draw("path", {d: points.map(([step, loss], k) => `${k ? "L" : "M"}${x(step).toFixed(1)} ${y(Math.max(loss, 1e-9)).toFixed(1)}`).join(""), class: "curve"});
  }
  pen.draw("circle", {cx: x(total), cy: y(Math.max(seen.loss, 1e-9)), r: 3.5, class: "now"});
  pen.draw("text", {x: SIDE, y: high - 4, "text-anchor": "end", class: "tick"}, `${thousands(total - done + state.steps)} steps`);
  pen.draw("text", {x: left, y: high - 4, class: "tick"}, "0");
  pen.trim();
}

const SQUARE = 340;
/** A number's colour between -1, orange, and 1, blue; 0 is the panel's own. It is pale where it is written on. */
const signedColour = (value, strength) => `color-mix(in oklab, var(${value < 0 ? "--poly" : "--mono"}) ${Math.round(strength * Math.min(1, Math.abs(value)))}%, var(--panel))`;

/** The paper's picture: what leads from each feature (a column) to each output (a row), and the bias beside it. */
function drawMatrix(svg, {model}, {lit}) {
  const {n, b} = model, pen = new Pen(svg), left = 22, top = 18, cell = (SQUARE - top - 4) / n, gap = 14;
  const through = throughWeights(model), bias = left + n * cell + gap;
  const draw = (x, k, value, isOff) => {
    const y = top + k * cell;
    pen.draw("rect", {x, y, width: cell - 1, height: cell - 1, style: `fill:${signedColour(value, n <= 8 ? 50 : 100)}`, class: "cell", ...(isOff ? {opacity: 0.2} : {})});
    if (n <= 8) pen.draw("text", {x: x + cell / 2, y: y + cell / 2 + 4, "text-anchor": "middle", class: "number"}, Math.abs(value) < 0.005 ? "0" : value.toFixed(2).replace("-", "−"));
  };
  for (let k = 0; k < n; k++) {
    for (let i = 0; i < n; i++) draw(left + i * cell, k, through[k * n + i], lit !== null && lit !== i && lit !== k);
    draw(bias, k, b[k], lit !== null && lit !== k);
    if (n > 12 && k % 2) continue;
    pen.draw("text", {x: left - 6, y: top + (k + 0.5) * cell + 4, "text-anchor": "end", class: "tick"}, String(k));
    pen.draw("text", {x: left + (k + 0.5) * cell, y: top - 6, "text-anchor": "middle", class: "tick"}, String(k));
  }
  pen.draw("text", {x: bias + cell / 2, y: top - 6, "text-anchor": "middle", class: "tick"}, "b");
  pen.trim();
}

const DIAGRAM = [340, 216];
const LEAST = 0.02; // share of importance at the diagram's foot

/** The phase diagram of an extra feature, and where the pairs that this state allows are on it. */
function drawPhases(svg, {sparsity}, pairs) {
  const pen = new Pen(svg), [wide, high] = DIAGRAM, left = 34, top = 8, right = wide - 8, foot = high - 34, [densities, ratios] = BORDER;
  const x = p => left + ((right - left) * Math.log(p)) / Math.log(densities.at(-1)), y = r => top + ((foot - top) * Math.log(clamp(r, [LEAST, 1]))) / Math.log(LEAST);
  const points = densities.map((p, k) => [x(p), y(ratios[k])]).map(at => at.map(c => c.toFixed(1)).join(" "));
  pen.draw("rect", {x: left, y: top, width: right - left, height: foot - top, style: "fill:var(--line)", class: "cell"});
  pen.draw("path", {d: `M${points.join("L")}L${right} ${foot}V${top}Z`, style: "fill:color-mix(in oklab, var(--poly) 30%, var(--panel))", class: "cell"});
  pen.draw("path", {d: `M${points.join("L")}`, class: "axis"});
  for (const p of [1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01]) {
    pen.draw("path", {d: `M${x(p).toFixed(1)} ${foot}v4`, class: "axis"});
    pen.draw("text", {x: x(p), y: foot + 15, "text-anchor": "middle", class: "tick"}, String(p));
  }
  for (const r of [1, 0.5, 0.2, 0.1, 0.05, 0.02]) pen.draw("text", {x: left - 5, y: y(r) + 4, "text-anchor": "end", class: "tick"}, String(r));
  pen.draw("text", {x: right, y: high - 4, "text-anchor": "end", class: "tick"}, "density; to the right sparser");
  pen.draw("text", {x: left + 8, y: foot - 10, class: "number"}, "left out");
  pen.draw("text", {x: right - 8, y: foot - 10, "text-anchor": "end", class: "number"}, "stored opposite");
  const here = x(1 - sparsity), isRight = here > (left + right) / 2;
  for (const [k, {ratio}] of (pairs ?? []).entries()) {
    pen.draw("circle", {cx: here, cy: y(ratio), r: 5.5, class: "here"});
    if (!k) pen.draw("text", {x: here + (isRight ? -11 : 11), y: y(ratio) + 5, "text-anchor": isRight ? "end" : "start", class: "number"}, "you are here");
  }
  pen.trim();
}

/** The picture as a PNG's blob, with the colours it has on the page. */
async function pictureOf(svg, lab, style) {
  const copy = svg.cloneNode(true), colours = getComputedStyle(lab), [, , wide, high] = svg.getAttribute("viewBox").split(" ").map(Number);
  for (const name of ["ink", "soft", "panel", "line", "accent", "mono", "poly", "dead", "curve"]) copy.style.setProperty(`--${name}`, colours.getPropertyValue(`--${name}`));
  copy.style.fontFamily = "sans-serif";
  copy.setAttribute("xmlns", SVG);
  copy.setAttribute("width", 3 * wide);
  copy.setAttribute("height", 3 * high);
  const sheet = document.createElementNS(SVG, "style"), ground = document.createElementNS(SVG, "rect");
  sheet.textContent = style;
  for (const [key, value] of Object.entries({width: wide, height: high, style: "fill:var(--panel)"})) ground.setAttribute(key, value);
  copy.prepend(sheet, ground);
  const image = new Image();
  image.src = `data:image/svg+xml,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), {width: 3 * wide, height: 3 * high});
  canvas.getContext("2d").drawImage(image, 0, 0);
  return new Promise(resolve => canvas.toBlob(resolve));
}
