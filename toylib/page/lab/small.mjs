// A lab with few controls and one question, for a page that is read. It stands after controls.mjs in the same module.

const SMALL_SPEED = 700; // steps a second
const SMALL_STYLE = `
.lab.small { display: grid; grid-template-columns: minmax(0, 1fr); gap: 4px 20px; padding: 10px 14px; }
.small .ask { font-size: 16px; margin-bottom: 4px; } .asks .row { margin-bottom: 4px; }
.small #view { max-height: 232px; }
.small .found { font-size: 18px; font-weight: 650; line-height: 1.3; min-height: 1.5em; font-variant-numeric: tabular-nums; }
.small .row { align-items: center; } .small .field .row { white-space: normal; }
.small [data-feature] { cursor: auto; }
.small a { color: var(--accent); }
.small button { min-height: 34px; } .small button.main { min-width: 0; }
.small .goal { font-size: 14px; }
@container (min-width: 560px) {
  .small.asks { grid-template-columns: minmax(0, 5fr) minmax(0, 4fr); grid-template-rows: repeat(6, auto) 1fr; padding: 14px 18px; }
  .asks > * { grid-column: 2; } .asks > .ask { grid-column: 1 / -1; } .asks > .sight { grid-area: 2 / 1 / span 6 / 2; }
  .asks #view { max-height: 260px; }
}
`;

const SMALL_SLIDERS = {
  sparsity: {text: "Sparsity: how seldom a feature is active", values: () => SPARSITIES, show: ({sparsity}) => percent(sparsity)},
  m: {text: "Neurons", values: ([low, high]) => Array.from({length: high - low + 1}, (_, k) => low + k), show: ({m, n}) => `${m}: ${short(m / n)} a feature`},
};
const SMALL_TITLES = {output: "Direction of each feature; 0 matters most", copy: VIEW_TITLES.copy, absolute: VIEW_TITLES.copy};

/** An exercise in a small lab: every choice is trained from the same start, `Another start` from the next seed. */
class Small {
  constructor(host, name, link) {
    const {title, ask, sliders, state} = EXERCISES[name], {task, m} = complete(state), neurons = task !== "output", line = !neurons && m === 1;
    Object.assign(this, {host, name, link, sliders, asks: Boolean(ask), running: !ask});
    this.root = host.attachShadow({mode: "open"});
    const controls = Object.entries(sliders).map(([key, range]) => slider(key, SMALL_SLIDERS[key].text, 0, SMALL_SLIDERS[key].values(range).length - 1, 1)).join("");
    const longest = [neurons ? "10 of 10 represented, 5 clean, 5 shared, 1 dead" : line ? "2 of 2, an antipodal pair" : "4 of 5, two antipodal pairs at right angles"];
    this.root.innerHTML = `<style>${STYLE}${SMALL_STYLE}</style><section class="lab small ${ask ? "asks" : ""}" aria-label="${ask ? `A toy model to train: ${title}` : "A toy model that trains here"}">
      ${ask ? `<p class="ask"><b>${title}.</b> ${ask}</p>` : ""}
      <div class="row">${ask ? "" : `<span>${title}</span>`}<button type="button" id="again" ${ask ? 'class="main"' : ""}>${ask ? "Train" : "Again"}</button></div>
      <figure class="sight">${ask ? `<figcaption>${SMALL_TITLES[task]}</figcaption>` : ""}<svg id="view" role="img" viewBox="${line ? `0 ${HIGH / 2 - 50} ${WIDE} 100` : `0 0 ${WIDE} ${HIGH}`}" aria-label="${title}"></svg>
      ${neurons ? `<p class="legend">${KINDS.toReversed().map(kind => `${legend(kind)}${{polysemantic: "shared", monosemantic: "clean", dead: "dead"}[kind]}`).join(" &ensp;")}</p>` : ""}</figure>
      ${ask ? steady("p", 'class="found" id="found"', longest).replace('class="ruler"', 'class="found ruler"') : '<p class="found" id="found" role="status" aria-live="off"></p>'}
      ${ask ? steady("p", 'class="legend" id="more"', [neurons ? "shared with room: 20 features could have clean neurons" : "superposition: 5 features in 2 dimensions"]).replace('class="ruler"', 'class="legend ruler"') : ""}
      ${controls}
      ${ask ? `<div class="goal" id="goal">${TICK}${steady("span", 'id="state" role="status" aria-live="off"', [`Done: ${longest}; 99.5% sparse, density 0.0050.`])}</div>` : ""}
      <p><a id="open">Open it in the lab</a></p></section>`;
    this.part = Object.fromEntries([...this.root.querySelectorAll("[id]")].map(node => [node.id, node]));
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    for (const [key, range] of Object.entries(sliders)) this.part[key].addEventListener("input", () => this.begin({[key]: SMALL_SLIDERS[key].values(range)[this.part[key].value]}));
    this.part.again.addEventListener("click", () => this.begin(this.asks && this.trainer.total ? {seed: (this.state.seed + 1) % (LIMITS.seed[1] + 1)} : {}));
    const themed = () => this.draw();
    new MutationObserver(themed).observe(document.documentElement, {attributes: true});
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themed);
    this.state = complete(state);
    this.begin({}, {running: !ask}); // what asks waits to be pressed
    // it trains while it is seen
    new IntersectionObserver(entries => this.seen(entries.at(-1).isIntersecting), {threshold: 0.6}).observe(this.part.view);
  }

  begin(changes, {running = true} = {}) {
    this.state = complete({...this.state, ...changes});
    this.trainer = new Trainer(this.state);
    this.running = running;
    this.owed = 0;
    for (const [key, range] of Object.entries(this.sliders)) {
      const {values, show} = SMALL_SLIDERS[key], words = show(this.state);
      this.part[key].value = nearest(values(range), this.state[key]);
      this.part[key].setAttribute("aria-valuetext", words);
      this.part[`${key}-value`].textContent = words;
    }
    this.part.open.href = this.link + writeAddress("", "lab-1", this.state);
    this.draw();
    this.seen(this.visible);
  }

  seen(visible) {
    this.visible = visible;
    if (!visible || !this.running || this.frame) return;
    this.last = performance.now();
    this.frame = requestAnimationFrame(now => this.tick(now));
  }

  tick(now) {
    this.frame = null;
    if (!this.visible || this.trainer.finished) return;
    const until = performance.now() + FRAME_BUDGET;
    this.owed = Math.min(70, this.owed + (SMALL_SPEED * Math.max(0, now - this.last)) / 1000);
    for (; this.owed >= 1 && !this.trainer.finished && performance.now() < until; this.owed--) this.trainer.step();
    this.last = now;
    if (!this.still.matches || this.trainer.finished) this.draw();
    this.frame = requestAnimationFrame(later => this.tick(later));
  }

  draw() {
    const {part, trainer} = this, dark = isDark(), seen = measure(trainer), {model, finished, total} = trainer;
    this.root.querySelector(".lab").classList.toggle("dark", dark);
    (model.task === "output" ? drawVectors : drawStacks)(part.view, trainer, seen, {dark, turn: 0, tilt: 0});
    const words = (id, text) => part[id].textContent === text || (part[id].textContent = text);
    words("found", this.asks && !total ? "Not trained yet" : found(model, seen));
    if (!this.asks) return part.found.setAttribute("aria-live", finished ? "polite" : "off");
    const {done, words: state} = answered(this.name, trainer, seen);
    words("more", total ? sharing(trainer, seen) : "");
    words("again", finished ? "Another start" : total || this.running ? "Start anew" : "Train");
    part.state.setAttribute("aria-live", finished ? "polite" : "off");
    part.goal.classList.toggle("done", done);
    words("state", `${done ? "Done" : "Not yet"}: ${state}.`);
    part.view.setAttribute("aria-label", part.found.textContent);
  }
}

/** Fill the places that a page has for small labs, each once. */
for (const host of document.querySelectorAll(".toylib-small"))
  if (!host.shadowRoot) host.lab = new Small(host, host.dataset.exercise, host.dataset.link);
