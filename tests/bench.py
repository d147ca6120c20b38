"""Speed beside the authors' training loop, in one run, the two interleaved: `make bench`.

Writes a list of {name, baseline_s, ours_s, ratio, baseline_loss, ours_loss}; in the rows on strata the
baseline is our own sampling, and they say the inputs of both and the steps as well; in those of the page's
engine it is the lab's JavaScript, in the browser that the tests open, if there is one. --page adds the
curves, the memory and the machine for the book's page. Without --full the authors' two larger configurations
are timed by the step, and only we run to the end: their whole runs take most of an hour.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from statistics import median

import browser as browsers
import joblib
import numba
import numpy as np
import page_engine
import torch

from toylib.draws import TRAINING, draw, new_stream
from toylib.features import SparseFeatures
from toylib.models import AbsoluteValueModel, ReLUHiddenModel, ReLUOutputModel, ToyModel
from toylib.page import wasm
from toylib.runs.starts import search
from toylib.training import TrainingRun, evaluate, train

AUTHORS_STEPS, AUTHORS_BATCH = 10_000, 1024
KEPT = Path(__file__).resolve().parents[1] / "book" / "data" / "bench.json"  # what the page draws
BY_THE_STEP = " (theirs by the step)"
CONFIGURATIONS = {  # model, n_features, n_hidden, densities of the instances, importance; then our schedule
    "n=5 m=2, 10 instances": (
        (ReLUOutputModel, 5, 2, 20 ** -np.linspace(0, 1, 10), 0.9 ** np.arange(5)),
        dict(n_steps=2000, batch_size=256, lr=0.02),
    ),
    "n=100 m=20, 20 instances": (
        (ReLUOutputModel, 100, 20, 20 ** -np.linspace(0, 1, 20), 100 ** -np.linspace(0, 1, 100)),
        dict(n_steps=3000, batch_size=160, lr=0.01),
    ),
    "n=200 m=20, 20 instances": (
        (ReLUOutputModel, 200, 20, 20 ** -np.linspace(0, 1, 20), np.ones(200)),
        dict(n_steps=4000, batch_size=256, lr=0.01, revival=0.3),  # some outputs die without
    ),
}


class AuthorsLoop:
    """The authors' public loop: AdamW at a constant 1e-3 with autograd, Xavier over the stacked tensor."""

    def __init__(self, model_class, n_features, n_hidden, density, importance):
        n_instances = len(density)
        self.model = model_class(n_features, n_hidden, seeds=range(n_instances))
        self.W = torch.nn.Parameter(torch.empty(n_instances, n_features, n_hidden))
        torch.nn.init.xavier_normal_(self.W)
        self.b = torch.nn.Parameter(torch.zeros(n_instances, n_features))
        self.density = torch.tensor(density, dtype=torch.float32)[None, :, None]
        self.importance = torch.tensor(importance, dtype=torch.float32)
        self.optimiser = torch.optim.AdamW([self.W, self.b], lr=1e-3)

    def step(self):
        shape = (AUTHORS_BATCH, *self.b.shape)
        x = torch.where(torch.rand(shape) <= self.density, torch.rand(shape), torch.zeros(()))
        hidden = torch.einsum("...if,ifh->...ih", x, self.W)
        if self.model.hidden_relu:
            hidden = torch.relu(hidden)
        out = torch.relu(torch.einsum("...ih,ifh->...if", hidden, self.W) + self.b)
        error = self.importance * (x - out) ** 2
        loss = error.mean((0, 2)).sum()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    def trained(self) -> ToyModel:
        with torch.no_grad():
            self.model.W.copy_(self.W.mT)
            self.model.b_final.copy_(self.b)
        return self.model


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def row(name: str, baseline: float, ours: float, losses: tuple[float | None, float | None]) -> dict:
    """One line of the table; the losses are summed over instances, None where not known."""
    entry = {"name": name, "baseline_s": baseline, "ours_s": ours, "ratio": baseline / ours}
    entry |= {"baseline_loss": losses[0], "ours_loss": losses[1]}
    shown = "" if losses[1] is None else f"   loss {losses[0] or float('nan'):.4g} against {losses[1]:.4g}"
    print(f"{name:62} {baseline:9.4g} s {ours:9.4g} s   ratio {entry['ratio']:7.1f}{shown}", flush=True)
    return entry


def to_equal_loss(name: str, full: bool) -> dict:
    """Their whole run against ours: wall time, and held-out loss on the same inputs.

    Not full: their time is 10,000 times the median of five steps, taken before and after our run, and
    their loss is that of the last full run, which the book keeps: it does not depend on the machine's speed.
    """
    (model_class, n_features, n_hidden, density, importance), schedule = CONFIGURATIONS[name]
    features = SparseFeatures(n_features, density, importance)
    train(model_class(n_features, n_hidden, seeds=range(len(density))), features, n_steps=2, progress=False)
    torch.manual_seed(0)
    loop = AuthorsLoop(model_class, n_features, n_hidden, density, importance)
    model = model_class(n_features, n_hidden, seeds=range(len(density)))
    if full:
        theirs = [seconds(lambda: [loop.step() for _ in range(AUTHORS_STEPS)])]
    else:
        theirs = [seconds(loop.step) * AUTHORS_STEPS for _ in range(3)]
    ours = seconds(lambda: train(model, features, progress=False, **schedule))
    if not full:
        theirs += [seconds(loop.step) * AUTHORS_STEPS for _ in range(2)]
    losses = [float(evaluate(m, features, n_samples=50_000).loss.sum()) for m in (loop.trained(), model)]
    label = f"to equal loss: {name}"
    if not full:
        known = {entry["name"]: entry["baseline_loss"] for entry in json.loads(KEPT.read_text())["rows"]}
        losses[0] = known.get(label) or known.get(label + BY_THE_STEP)
        label += BY_THE_STEP
    return row(label, median(theirs), ours, (losses[0], losses[1]))


def per_sample(name: str, model_class: type[ToyModel], n_features: int, n_hidden: int, n_models: int) -> dict:
    """Seconds for a million model-inputs at equal settings, one thread, one worker."""
    density, importance = np.full(20, 0.1), 0.9 ** np.arange(n_features)
    loop = AuthorsLoop(model_class, n_features, n_hidden, density, importance)
    model = model_class(n_features, n_hidden, seeds=range(n_models))
    n_steps = 20
    features = SparseFeatures(n_features, 0.1, importance)
    settings = dict(
        n_steps=n_steps, batch_size=AUTHORS_BATCH, lr=1e-3, n_evaluation=1, workers=1, progress=False
    )
    train(model, features, **settings)  # compiles
    theirs, ours = [], []
    for _ in range(5):
        theirs.append(seconds(loop.step) / (AUTHORS_BATCH * len(density)) * 1e6)
        ours.append(train(model, features, **settings).seconds / (AUTHORS_BATCH * n_models * n_steps) * 1e6)
    return row(f"a million model-inputs: {name}", median(theirs), median(ours), (None, None))


def thousand_starts() -> dict:
    """A thousand third models at one density: their loop, timed by the step, against ours to the end."""
    importance = 0.75 ** np.arange(10)
    loop = AuthorsLoop(ReLUHiddenModel, 10, 5, np.full(1000, 0.2), importance)
    loop.step()
    theirs = median(seconds(loop.step) for _ in range(3)) * AUTHORS_STEPS
    features = SparseFeatures(10, 0.2, importance)
    model = ReLUHiddenModel(10, 5, seeds=range(1000))
    run = train(model, features, n_steps=3000, batch_size=128, lr=0.02, progress=False)
    return row("1000 third models, n=10 m=5" + BY_THE_STEP, theirs, run.seconds, (None, None))


# --- to the loss of strata ---------------------------------------------------------------------------------

NEAR, MOST = 1.02, 4096  # of the loss of strata; the largest batch that is tried
KINDS = {"third model": ReLUHiddenModel, "ReLU output": ReLUOutputModel, "absolute": AbsoluteValueModel}
AT_STRATA = [  # n_features, n_hidden, density, inputs sampled beside the lines, steps
    (10, 5, 0.02, 16, 2000),
    (10, 5, 0.002, 16, 2000),
    (20, 10, 0.02, 16, 1500),
    (20, 10, 0.002, 16, 1500),
    (100, 20, 0.005, 64, 500),
    (400, 30, 0.001, 64, 300),
]


def to_the_loss_of_strata(
    kind: str, n_features: int, n_hidden: int, density: float, batch_size: int, n_steps: int
) -> dict:
    """Plain sampling in batches that double, until 16 models end at the median loss of strata.

    Both take the same steps from the same starts, on one thread, the models on one stream of inputs; seconds
    are those of all steps, from shorter runs in turn. A line counts as one input. Where the loss is not
    reached, the batch is the largest tried, and baseline_loss says so.
    """
    features = SparseFeatures(n_features, density, signed=kind == "absolute")

    def run(data: str, size: int, steps: int, n_evaluation: int) -> TrainingRun:
        settings = dict(n_evaluation=n_evaluation, n_records=1, workers=1, progress=False)
        settings |= dict(lr=0.02, revival=float(kind == "absolute"))  # their outputs die without
        model = KINDS[kind](n_features, n_hidden, range(16))
        return train(model, features, data=data, batch_size=size, n_steps=steps, **settings)

    def loss(data: str, size: int) -> float:
        return float(np.median(run(data, size, n_steps, 16384).loss))

    def timed(data: str, size: int) -> float:
        steps = n_steps // 5
        return run(data, size, steps, 1).seconds * n_steps / steps

    wanted, inputs = loss("strata", batch_size), batch_size
    while (reached := loss("sampled", inputs)) > NEAR * wanted and inputs < MOST:
        inputs *= 2
    both = interleaved([lambda: timed("sampled", inputs), lambda: timed("strata", batch_size)], 5)
    name = f"to the loss of strata: {kind}, n={n_features} m={n_hidden}, density {density:g}"
    ours = batch_size + n_features * (2 if features.signed else 1)
    entry = row(name, *both, (reached, wanted))
    return entry | {"baseline_inputs": inputs, "ours_inputs": ours, "n_steps": n_steps}


# --- in a page ----------------------------------------------------------------------------------------------

LABS = {  # the lab's own settings, and the same of the page's engine
    "ReLU output, n=5 m=2, density 0.1": (ReLUOutputModel, 5, 2, 0.1, 0.9, 256),
    "ReLU output, n=20 m=3, density 0.1": (ReLUOutputModel, 20, 3, 0.1, 0.9, 256),
    "third model, n=10 m=5, density 0.25": (ReLUHiddenModel, 10, 5, 0.25, 0.75, 128),
    "third model, n=20 m=10, density 0.1": (ReLUHiddenModel, 20, 10, 0.1, 0.8, 128),
}
WAYS = [("simd", 1), ("simd", 32), ("scalar", 1), ("scalar", 32), ("javascript", 32)]
# turns of some milliseconds, in rotation: seconds a step and model, of the fastest turn, since what else the
# machine does can only make one longer
ROTATE = """
([state, said, ways]) => {
  const {Trainer, complete, begin, startOf} = engines, rounds = 100, turn = 4, turns = [];
  let lab = new Trainer(complete(state));
  const ofLab = count => {
    for (; count > 0; count--) {
      if (lab.finished) lab = new Trainer(complete(state));
      lab.step();
    }
  };
  turns.push([ofLab, 1]);
  for (const [name, models] of ways) {
    const engine = begin(name, said, Array.from({length: models}, (_, k) => startOf(said, k)), 0);
    turns.push([count => engine.step(count), models]);
  }
  const counts = turns.map(([step]) => {
    let each = Infinity; // of the fastest of a few, when the code is compiled
    for (let k = 0; k < 30; k++) {
      const began = performance.now();
      step(4);
      each = Math.min(each, Math.max(0.1, performance.now() - began) / 4);
    }
    return Math.ceil(turn / each);
  });
  const times = turns.map(() => []);
  for (let round = 0; round < rounds; round++) turns.forEach(([step, models], k) => {
    const began = performance.now();
    step(counts[k]);
    times[k].push((performance.now() - began) / 1000 / counts[k] / models);
  });
  return times.map(each => Math.min(...each));
}
"""
WHOLE = """
said => {
  const starts = Array.from({length: 64}, (_, k) => engines.startOf(said, k)), times = [];
  for (let k = 0; k < 5; k++) {
    const began = performance.now();
    engines.train("simd", said, starts, k);
    times.push((performance.now() - began) / 1000);
  }
  return Math.min(...times);
}
"""


def in_page() -> list[dict]:
    """Seconds for a million model-inputs of the page's engine beside the lab's, one core; and a whole run.

    None where no browser is found.
    """
    rows = []
    try:
        with browsers.launched() as browser:
            page = page_engine.opened(browser)
            for name, (model_class, n, m, p, decay, batch) in LABS.items():
                model, features = model_class(n, m), SparseFeatures(n, p, decay ** np.arange(n))
                said = wasm.setting(model, features, n_steps=10**8, batch_size=batch, lr=0.02)
                task = wasm.TASKS[model_class]
                state = {"task": task, "n": n, "m": m, "sparsity": 1 - p, "decay": decay, "steps": 10_000}
                lab, *ours = page.evaluate(ROTATE, [state, said, WAYS])
                for (how, models), each in zip(WAYS, ours, strict=True):
                    label = f"in a page, {how}, {models} at once: {name}"
                    rows.append(row(label, lab / batch * 1e6, each / batch * 1e6, (None, None)))
            features = SparseFeatures(10, 0.25, 0.75 ** np.arange(10))
            said = wasm.setting(ReLUHiddenModel(10, 5), features, n_steps=2000, batch_size=128, lr=0.03)
            taken = page.evaluate(WHOLE, said)
            print(
                f"64 third models, 2,000 steps of 128 inputs in a page, one core: {taken:.3g} s", flush=True
            )
            rows.append({"name": "64 third models x 2000 steps in a page, one core", "ours_s": taken})
    except LookupError as error:
        print(f"in a page: not measured, {error}", flush=True)
    return rows


# --- curves ----------------------------------------------------------------------------------------------


def interleaved(actions: list[Callable[[], float]], repeats: int) -> list[float]:
    """Median of what each action returns, all of them run in turn, again and again."""
    runs = [[action() for action in actions] for _ in range(repeats)]
    return np.median(runs, axis=0).tolist()


def step_of_ours(model: ToyModel, features: SparseFeatures, n_steps: int, batch_size: int) -> float:
    """Seconds a step, in one thread."""
    settings = dict(batch_size=batch_size, n_records=1, n_evaluation=1, workers=1, progress=False)
    return train(model, features, n_steps=n_steps, **settings).seconds / n_steps


def cost_by_models(repeats: int = 3) -> dict:
    """Third models, n=10 m=5, density 0.2, batch 128: seconds a step, and the slope on log-log axes.

    Seconds of processor time: other programs on the machine would bend a line of wall times.
    """
    counts, features = [64, 128, 256, 512, 1024], SparseFeatures(10, 0.2)

    def one(n: int) -> float:
        model, started = ReLUHiddenModel(10, 5, range(n)), time.process_time()
        step_of_ours(model, features, 600, 128)
        return (time.process_time() - started) / 600

    ours = interleaved([lambda n=n: one(n) for n in counts], repeats)
    slope = float(np.polyfit(np.log(counts), np.log(ours), 1)[0])
    print(f"cost grows with the number of models to the power {slope:.3f}", flush=True)
    return {"x": counts, "ours": ours, "slope": slope}


def beside_theirs(points: list[tuple[int, int, float]], repeats: int = 3) -> dict:
    """ReLU output models, 20 of (n_features, n_hidden, density): seconds per model and input."""
    actions: list[Callable[[], float]] = []
    for n, m, p in points:
        loop = AuthorsLoop(ReLUOutputModel, n, m, np.full(20, p), np.ones(n))
        model, features = ReLUOutputModel(n, m, range(20)), SparseFeatures(n, p)
        n_steps = max(2, 20_000 // (n * m))
        actions.append(lambda loop=loop: seconds(loop.step) / (20 * AUTHORS_BATCH))
        actions.append(
            lambda model=model, features=features, n_steps=n_steps: (
                step_of_ours(model, features, n_steps, AUTHORS_BATCH) / (20 * AUTHORS_BATCH)
            )
        )
    for action in actions:
        action()  # compiles, and warms up
    both = interleaved(actions, repeats)
    return {"theirs": both[::2], "ours": both[1::2]}


def matrix_peak(size: int = 1024) -> float:
    """Floating-point operations a second of torch's product of square matrices in float32, one thread."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return 2 * size**3 / min(seconds(lambda: a @ b) for _ in range(8))


def share_of_peak() -> list[dict]:
    """n=400 m=30: operations a second against the matrix peak measured between the runs.

    A model and input cost 6 n m operations in the output layer (forward, and both gradients), and 4 p n m
    in the input layer, where only active features are touched. Adam and the random numbers count as none.
    """
    rows = []
    for batch_size in (256, 1024):
        for density in (0.05, 1.0):
            model, features = ReLUOutputModel(400, 30, range(8)), SparseFeatures(400, density)
            n_steps = 16384 // batch_size  # long enough for the set-up not to count
            step_of_ours(model, features, 1, batch_size)
            actions = [
                matrix_peak,
                lambda a=(model, features, n_steps, batch_size): step_of_ours(*a),
                lambda a=(features, batch_size): drawing(*a),
            ]
            peak, step, drawn = interleaved(actions, 5)
            done = (6 + 4 * density) * 400 * 30 * batch_size * 8
            rows.append(
                {
                    "batch_size": batch_size,
                    "density": density,
                    "peak": peak,
                    "operations": done / step,
                    "share": done / step / peak,
                    "share_of_time_drawing": drawn / step,
                }
            )
            print(f"n=400 m=30 batch {batch_size} density {density}: {rows[-1]['share']:.2f} of the peak")
    return rows


def drawing(features: SparseFeatures, batch_size: int) -> float:
    """Seconds to draw one batch."""
    n = features.n_features
    room = np.empty(batch_size, np.int32), np.empty((batch_size, n), np.int32), np.empty((batch_size, n), "f")
    state, cdf = new_stream(0, TRAINING), features.given_active(0)
    q = features.unit_probability[0]
    return min(
        seconds(lambda: draw(state, q, cdf, *features.units, features.signed, *room)) for _ in range(3)
    )


MEMORY = """
import resource, sys
from pathlib import Path
from toylib.features import SparseFeatures
from toylib.models import ReLUHiddenModel
from toylib.training import train
def peak():
    status = Path("/proc/self/status")
    if status.is_file():  # Linux: ru_maxrss would begin with the peak of the process that started this one
        return next(int(l.split()[1]) for l in status.read_text().splitlines() if "VmHWM" in l) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
n = int(sys.argv[1])
options = dict(batch_size=128, n_evaluation=1024, progress=False)
train(ReLUHiddenModel(10, 5, range(64)), SparseFeatures(10, 0.2), n_steps=2, **options)
before = peak()
train(ReLUHiddenModel(10, 5, range(n)), SparseFeatures(10, 0.2), n_steps=int(sys.argv[2]), **options)
print(before, peak())
"""


def memory() -> list[dict]:
    """Peak memory of a process before and after a run, in bytes."""
    rows = []
    for n_models, n_steps in [(64, 100), (1024, 100), (8192, 20), (64, 2000)]:
        command = [sys.executable, "-c", MEMORY, str(n_models), str(n_steps)]
        before, after = map(int, subprocess.run(command, capture_output=True, check=True).stdout.split())
        rows.append({"n_models": n_models, "n_steps": n_steps, "before": before, "after": after})
        print(f"memory: {n_models} models, {n_steps} steps: {(after - before) / 1e6:.0f} MB more", flush=True)
    return rows


DENSITIES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.2, 0.15, 0.12, 0.08, 0.05, 0.02, 0.01)


def table() -> dict:
    """Third models, 1000 starts at each of twelve densities, halved and polished: seconds and lowest loss."""
    losses: list[float] = []

    def all_of_it() -> None:
        for p in DENSITIES:
            rounds = [(200, 500, 0.02), (48, 1500, 0.02), (24, 6000, 0.01)]
            features = SparseFeatures(10, p, 0.75 ** np.arange(10))
            found = search(ReLUHiddenModel, features, 5, 1000, rounds, batch_size=128, progress=False)
            losses.append(float(found.loss[0]))

    taken = seconds(all_of_it)
    print(f"twelve densities, 1000 starts each, polished: {taken:.0f} s", flush=True)
    return {"seconds": taken, "density": DENSITIES, "loss": losses}


def machine() -> dict:
    """What the numbers were measured on."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    names = [line.split(":")[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": joblib.cpu_count(),
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "numba": numba.__version__,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where to write the table")
    parser.add_argument("--page", type=Path, help="where to write what the book's page draws")
    parser.add_argument("--full", action="store_true", help="the authors' larger configurations to the end")
    options = parser.parse_args()
    print(f"{'':62} {'authors':>11} {'ours':>11}")
    rows = [
        per_sample("third model, n=10 m=5", ReLUHiddenModel, 10, 5, 64),
        per_sample("n=100 m=20", ReLUOutputModel, 100, 20, 64),
        thousand_starts(),
    ]
    small, *large = CONFIGURATIONS
    rows.append(to_equal_loss(small, full=True))
    rows += [to_equal_loss(name, options.full) for name in large]
    print(f"{'':62} {'sampled':>11} {'strata':>11}")
    strata = [to_the_loss_of_strata(kind, *setting) for setting in AT_STRATA for kind in KINDS]
    print(f"{'':62} {'lab':>11} {'kernel':>11}")
    pages = in_page()
    options.json.write_text(json.dumps(rows + strata + pages, indent=1) + "\n")
    print(f"written to {options.json}")
    models = cost_by_models()
    if not options.page:
        return
    sizes = [(5, 2), (10, 4), (20, 5), (50, 10), (100, 20), (200, 20), (400, 30)]
    densities = [1.0, 0.3, 0.1, 0.03, 0.01]
    page = {
        "machine": machine(),
        "rows": rows,
        "strata": strata,
        "in_page": pages,
        "models": models,
        "sizes": {"x": sizes} | beside_theirs([(n, m, 0.1) for n, m in sizes]),
        "densities": {"x": densities} | beside_theirs([(100, 20, p) for p in densities]),
        "peak": share_of_peak(),
        "memory": memory(),
        "table": table(),
    }
    options.page.write_text(json.dumps(page, indent=1) + "\n")
    print(f"written to {options.page}")


if __name__ == "__main__":
    main()
