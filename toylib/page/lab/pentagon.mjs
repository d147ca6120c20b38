// A lab with one control, for a page that has no room for more. It stands after controls.mjs in the same module.

const SMALL_SPEED = 700; // steps a second
const SMALL_STYLE = `
.lab.small { display: grid; gap: 4px; padding: 10px 14px; }
.small .stage { display: block; }
.small #view { max-height: 232px; }
.small .found { font-size: 18px; font-weight: 650; min-height: 1.5em; font-variant-numeric: tabular-nums; }
.small .row { align-items: center; } .small input[type=range] { touch-action: pan-y; }
.small a { color: var(--accent); }
.small button { min-height: 34px; }
`;

/** Five features in a plane, and a slider for sparsity; every choice is trained from the same start. */
class Pentagon {
  constructor(host, link) {
    this.root = host.attachShadow({mode: "open"});
    this.root.innerHTML = `<style>${STYLE}${SMALL_STYLE}</style><section class="lab small" aria-label="A toy model that trains here">
      <div class="row"><span>Five features, two dimensions</span><button type="button" id="again">Again</button></div>
      <svg id="view" role="img" viewBox="0 0 ${WIDE} ${HIGH}" aria-label="Directions of five features in a plane"></svg>
      <p class="found" id="found" role="status" aria-live="off"></p>
      ${slider("sparsity", "Sparsity: how seldom a feature is active", 0, SPARSITIES.length - 1, 1)}
      <p><a id="open">Open it in the lab</a></p></section>`;
    this.part = Object.fromEntries([...this.root.querySelectorAll("[id]")].map(node => [node.id, node]));
    this.link = link;
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.part.sparsity.addEventListener("input", () => this.begin(SPARSITIES[this.part.sparsity.value]));
    this.part.again.addEventListener("click", () => this.begin(this.state.sparsity));
    const themed = () => this.draw();
    new MutationObserver(themed).observe(document.documentElement, {attributes: true});
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themed);
    this.begin(PRESETS.pentagon.state.sparsity);
    // it trains while it is seen
    new IntersectionObserver(entries => this.seen(entries.at(-1).isIntersecting), {threshold: 0.6}).observe(host);
  }

  begin(sparsity) {
    this.state = complete({preset: "pentagon", sparsity});
    this.trainer = new Trainer(this.state);
    const words = percent(this.state.sparsity);
    this.part.sparsity.value = nearest(SPARSITIES, this.state.sparsity);
    this.part.sparsity.setAttribute("aria-valuetext", words);
    this.part["sparsity-value"].textContent = words;
    this.part.open.href = this.link + writeAddress("", "lab-1", this.state);
    this.owed = 0;
    this.draw();
    this.seen(this.visible);
  }

  seen(visible) {
    this.visible = visible;
    if (!visible || this.frame) return;
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
    const dark = isDark(), seen = measure(this.trainer), {model, finished} = this.trainer;
    this.root.querySelector(".lab").classList.toggle("dark", dark);
    drawVectors(this.part.view, this.trainer, seen, {dark, turn: 0, tilt: 0});
    const shape = arrangement(model, seen.represented);
    const text = `${seen.nRepresented} of ${model.n}${shape ? `, ${shape}` : ""}`;
    this.part.found.setAttribute("aria-live", finished ? "polite" : "off");
    if (this.part.found.textContent !== text) this.part.found.textContent = text;
  }
}

for (const host of document.querySelectorAll(".toylib-pentagon"))
  if (!host.shadowRoot) host.lab = new Pentagon(host, host.dataset.link);
