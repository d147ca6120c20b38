"""Speed beside the authors' training loop and others', each comparison in turn in one run: `make bench`.

Writes a list of {name, baseline_s, ours_s, ratio, baseline_loss, ours_loss}; in the rows on strata the
baseline is our own sampling, and they say the inputs of both and the steps as well; in those of the page's
engine it is the lab's JavaScript, in the browser that the tests open, if there is one; in those of a step at
every size it is the authors' loop, torch.func's or JAX's, if that is installed. --page adds the curves, the
memory and what a factorial costs, each with the machine that it was measured on, for the book's page. --parts
measures only these; the others stay as the book has them. Without --full the authors' two larger
configurations are timed by the step, and only we run to the end: their whole runs take most of an hour.

Wherever a comparison is between programs of one thread, times are of the processor (of a page's own thread in
the browser), and medians of turns: what else the machine does then moves both sides alike.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import browser as browsers
import cluster
import joblib
import numba
import numpy as np
import page_engine
import torch
from peers import AUTHORS_BATCH, NO_JAX, PEERS, AuthorsLoop

from toylib.draws import TRAINING, draw, new_stream
from toylib.features import SparseFeatures
from toylib.models import AbsoluteValueModel, ReLUHiddenModel, ReLUOutputModel, ToyModel
from toylib.page import wasm
from toylib.runs.starts import search
from toylib.training import TrainingRun, evaluate, train

AUTHORS_STEPS = 10_000
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


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def processor_seconds(action: Callable[[], object]) -> float:
    """Of all threads of this process."""
    started = time.process_time()
    action()
    return time.process_time() - started


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
WHOLE_RUN = "64 third models x 2000 steps in a page, one core"
WAYS = [("simd", 1), ("simd", 32), ("scalar", 1), ("scalar", 32), ("javascript", 32)]
# what is timed: the lab, and each way of the page's engine; a turn is so many steps of one of them
TURNS = """
([state, said, ways]) => {
  const {Trainer, complete, begin, startOf} = engines;
  let lab = new Trainer(complete(state));
  window.turns = [count => {
    for (; count > 0; count--) {
      if (lab.finished) lab = new Trainer(complete(state));
      lab.step();
    }
  }];
  for (const [name, models] of ways) {
    const engine = begin(name, said, Array.from({length: models}, (_, k) => startOf(said, k)), 0);
    window.turns.push(count => engine.step(count));
  }
}
"""
WHOLE = """
([said, stream]) => {
  engines.train("simd", said, Array.from({length: 64}, (_, k) => engines.startOf(said, k)), stream);
}
"""
A_TURN, N_TURNS, N_WHOLE = 0.02, 40, 7  # seconds of processor time; how many of each, in rotation


def in_page() -> list[dict]:
    """Seconds for a million model-inputs of the page's engine beside the lab's, one core; and a whole run.

    Seconds of processor time of the page's own thread, which does all the work. None where no browser is
    found.
    """
    rows = []
    try:
        with browsers.launched() as browser:
            page = page_engine.opened(browser)
            thread = page.context.new_cdp_session(page)
            thread.send("Performance.enable", {"timeDomain": "threadTicks"})
            for name, setting in LABS.items():
                lab, *ours = turns_in_page(page, thread, *setting)
                for (how, models), each in zip(WAYS, ours, strict=True):
                    label = f"in a page, {how}, {models} at once: {name}"
                    rows.append(row(label, lab, each / models, (None, None)))
            features = SparseFeatures(10, 0.25, 0.75 ** np.arange(10))
            said = wasm.setting(ReLUHiddenModel(10, 5), features, n_steps=2000, batch_size=128, lr=0.03)
            taken = median(in_thread(page, thread, WHOLE, [said, k]) for k in range(N_WHOLE))
            print(f"{WHOLE_RUN}: {taken:.3g} s", flush=True)
            rows.append({"name": WHOLE_RUN, "ours_s": taken, "browser": f"Chromium {browser.version}"})
    except LookupError as error:
        print(f"in a page: not measured, {error}", flush=True)
    return rows


def in_thread(page: Any, thread: Any, code: str, given: Any) -> float:
    """Processor seconds of the page's thread for a call."""

    def now() -> float:
        metrics = thread.send("Performance.getMetrics")["metrics"]
        return next(each["value"] for each in metrics if each["name"] == "ThreadTime")

    started = now()
    page.evaluate(code, given)
    return now() - started


def turns_in_page(
    page: Any, thread: Any, model_class: type[ToyModel], n: int, m: int, p: float, decay: float, batch: int
) -> list[float]:
    """Processor seconds for a million inputs of the lab, and of each of WAYS with all of its models."""
    model, features = model_class(n, m), SparseFeatures(n, p, decay ** np.arange(n))
    said = wasm.setting(model, features, n_steps=10**8, batch_size=batch, lr=0.02)
    task = wasm.TASKS[model_class]
    state = {"task": task, "n": n, "m": m, "sparsity": 1 - p, "decay": decay, "steps": 10_000}
    page.evaluate(TURNS, [state, said, WAYS])

    def turn(k: int, count: int) -> float:
        return in_thread(page, thread, "([k, count]) => turns[k](count)", [k, count]) / count

    counts = []
    for k in range(len(WAYS) + 1):
        each = [turn(k, 20) for _ in range(20)]  # enough for the browser to compile what it runs often
        counts.append(max(1, round(A_TURN / median(each[10:]))))
    actions = [lambda k=k: turn(k, counts[k]) for k in range(len(counts))]
    return [each / batch * 1e6 for each in interleaved(actions, N_TURNS)]


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


Point = tuple[int, int, float]  # n_features, n_hidden, density


def beside_peers(
    points: list[Point], model_class: type[ToyModel] = ReLUOutputModel, names: Iterable[str] = PEERS
) -> dict:
    """20 models: processor seconds per model and input, of ours and of each peer, at every point."""
    found: dict[str, Any] = {"model": model_class.__name__, "x": points}
    for point in points:
        actions = steps_of_peers(model_class, point, names)
        for action in actions.values():
            action()  # compiles, and warms up
        each = np.array(interleaved(list(actions.values()), 9)) / (20 * AUTHORS_BATCH)
        for name, value in zip(actions, each.tolist(), strict=True):
            found.setdefault(name, []).append(value)
        said = ", ".join(f"{name} {1e9 * v:.4g} ns" for name, v in zip(actions, each, strict=True))
        print(f"{model_class.__name__} n={point[0]} m={point[1]} density {point[2]:g}: {said}", flush=True)
    return found


def steps_of_peers(
    model_class: type[ToyModel], point: Point, names: Iterable[str]
) -> dict[str, Callable[[], float]]:
    """What measures the processor seconds of a step of each peer, and of ours."""
    n, m, p = point
    few = max(1, 200 // (n * m))
    model, features = model_class(n, m, range(20)), SparseFeatures(n, p)

    def theirs(name: str) -> Callable[[], float]:
        loop = PEERS[name](model_class, n, m, np.full(20, p), np.ones(n))
        return lambda: processor_seconds(lambda: [loop.step() for _ in range(few)]) / few

    def of_call(n_steps: int) -> float:
        return processor_seconds(lambda: step_of_ours(model, features, n_steps, AUTHORS_BATCH))

    def ours() -> float:
        """Of a longer call less a shorter one, since each has to choose an engine, and inputs."""
        short = max(8, 5000 // (n * m))
        return (of_call(3 * short) - of_call(short)) / (2 * short)

    return {name: theirs(name) for name in names} | {"ours": ours}


SIZES = [(5, 2), (10, 4), (20, 5), (50, 10), (100, 20), (200, 20), (400, 30)]


def sizes() -> list[dict]:
    """A step at every size, beside every peer that is there."""
    if "jax" not in PEERS:
        print(NO_JAX, flush=True)
    return [
        beside_peers([(n, m, 0.1) for n, m in SIZES]),
        beside_peers([(10, 5, 0.1), (20, 10, 0.1)], ReLUHiddenModel),
    ]


def rows_of_peers(tables: list[dict]) -> list[dict]:
    """What `sizes` found, as lines: a million model-inputs, for every peer."""
    return [
        {
            "name": f"a million model-inputs: {table['model']}, n={n} m={m}, density {p:g}, {name}",
            "baseline_s": 1e6 * theirs, "ours_s": 1e6 * ours, "ratio": theirs / ours,
            "baseline_loss": None, "ours_loss": None,
        }
        for table in tables for name in PEERS if name in table
        for (n, m, p), theirs, ours in zip(table["x"], table[name], table["ours"], strict=True)
    ]  # fmt: skip


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


MEMORY = f"""
{cluster.PEAK}
from toylib.features import SparseFeatures
from toylib.models import ReLUHiddenModel
from toylib.training import train
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
    said = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    said = {name.strip(): value.strip() for name, value in said.items()}
    cpu = said.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in said:  # some names say no more than the maker's
        cpu += f" (family {said['cpu family']}, model {said['model']})"
    return {
        "cpu": cpu,
        "avx512": "avx512f" in said.get("flags", "").split() if text else None,  # twice as many lanes
        "cores": joblib.cpu_count(),
        "date": date.today().isoformat(),
        "torch": torch.__version__,
        "numba": numba.__version__,
    }


# --- the parts ---------------------------------------------------------------------------------------------


def rows(full: bool) -> list[dict]:
    """The authors' loop and ours: cost of an input, and whole runs."""
    print(f"{'':62} {'authors':>11} {'ours':>11}")
    small, *large = CONFIGURATIONS
    return [
        per_sample("third model, n=10 m=5", ReLUHiddenModel, 10, 5, 64),
        per_sample("n=100 m=20", ReLUOutputModel, 100, 20, 64),
        thousand_starts(),
        to_equal_loss(small, full=True),
        *(to_equal_loss(name, full) for name in large),
    ]


def strata() -> list[dict]:
    print(f"{'':62} {'sampled':>11} {'strata':>11}")
    return [to_the_loss_of_strata(kind, *setting) for setting in AT_STRATA for kind in KINDS]


def pages() -> list[dict]:
    print(f"{'':62} {'lab':>11} {'kernel':>11}")
    return in_page()


def densities() -> dict:
    return beside_peers([(100, 20, p) for p in (1.0, 0.3, 0.1, 0.03, 0.01)], names=["theirs"])


LISTED = {"rows", "strata", "in_page", "sizes"}  # parts of which --json has lines
PARTS: dict[str, Callable[[], Any]] = {
    "strata": strata,
    "in_page": pages,
    "sizes": sizes,
    "models": cost_by_models,
    "densities": densities,
    "peak": share_of_peak,
    "memory": memory,
    "table": table,
    "factorial": cluster.costs,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, help="where to write the lines")
    parser.add_argument("--page", type=Path, help="where to write what the book's page draws")
    parser.add_argument("--full", action="store_true", help="the authors' larger configurations to the end")
    parser.add_argument("--parts", nargs="+", choices=["rows", *PARTS], help="measure only these")
    options = parser.parse_args()
    parts = PARTS | {"rows": lambda: rows(options.full)}
    chosen = options.parts or [name for name in ("rows", *PARTS) if options.page or name in LISTED]
    page = json.loads(KEPT.read_text()) if options.parts else {}
    page.setdefault("machines", {})
    for name in chosen:
        page[name] = parts[name]()
        page["machines"][name] = machine()
        if name == "sizes" and "jax" in PEERS:
            page["machines"][name]["jax"] = version("jax")
        if options.page:
            options.page.write_text(json.dumps(page, indent=1) + "\n")
    lines = [line for name in ("rows", "strata", "in_page") if name in chosen for line in page[name]]
    lines += rows_of_peers(page["sizes"]) if "sizes" in chosen else []
    options.json.write_text(json.dumps(lines, indent=1) + "\n")
    print(f"written to {options.json}" + (f" and {options.page}" if options.page else ""))


if __name__ == "__main__":
    main()
