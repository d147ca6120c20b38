"""Speed beside the authors' training loop, in one run, the two interleaved: `make bench`.

Writes a list of {name, baseline_s, ours_s, ratio, baseline_loss, ours_loss}. Without --full the authors'
two larger configurations are timed step by step only: run to the end, they take most of an hour.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch

from toylib.features import SparseFeatures
from toylib.models import ReLUHiddenModel, ReLUOutputModel, ToyModel
from toylib.training import evaluate, train

AUTHORS_STEPS, AUTHORS_BATCH = 10_000, 1024
CONFIGURATIONS = {  # model, n_features, n_hidden, densities of the instances, importance; then our schedule
    "n=5 m=2, 10 instances": (
        (ReLUOutputModel, 5, 2, 20 ** -np.linspace(0, 1, 10), 0.9 ** np.arange(5)),
        dict(n_steps=2000, batch_size=256, lr=0.02),
    ),
    "n=100 m=20, 20 instances": (
        (ReLUOutputModel, 100, 20, 20 ** -np.linspace(0, 1, 20), 100 ** -np.linspace(0, 1, 100)),
        dict(n_steps=1500, batch_size=256, lr=0.02),
    ),
    "n=200 m=20, 20 instances": (
        (ReLUOutputModel, 200, 20, 20 ** -np.linspace(0, 1, 20), np.ones(200)),
        dict(n_steps=1500, batch_size=256, lr=0.02),
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
    """One line of the table; the losses are summed over instances."""
    entry = {"name": name, "baseline_s": baseline, "ours_s": ours, "ratio": baseline / ours}
    entry |= {"baseline_loss": losses[0], "ours_loss": losses[1]}
    shown = "" if losses[0] is None else f"   loss {losses[0]:.4g} against {losses[1]:.4g}"
    print(f"{name:44} {baseline:9.4g} s {ours:9.4g} s   ratio {entry['ratio']:7.1f}{shown}", flush=True)
    return entry


def to_equal_loss(name: str, repeats: int) -> dict:
    """Their whole run against ours: wall time, and held-out loss on the same inputs."""
    (model_class, n_features, n_hidden, density, importance), schedule = CONFIGURATIONS[name]
    features = SparseFeatures(n_features, density, importance)
    theirs, ours, losses = [], [], []
    for repeat in range(repeats):
        torch.manual_seed(repeat)
        loop = AuthorsLoop(model_class, n_features, n_hidden, density, importance)
        theirs.append(seconds(lambda loop=loop: [loop.step() for _ in range(AUTHORS_STEPS)]))
        seeds = range(repeat * len(density), (repeat + 1) * len(density))
        model = model_class(n_features, n_hidden, seeds=seeds)
        ours.append(seconds(lambda model=model: train(model, features, progress=False, **schedule)))
        losses.append([evaluate(m, features, n_samples=50_000).sum() for m in (loop.trained(), model)])
    mean = np.mean(losses, axis=0)
    return row(f"to equal loss: {name}", median(theirs), median(ours), (float(mean[0]), float(mean[1])))


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
    return row("1000 third models, n=10 m=5 (theirs by the step)", theirs, run.seconds, (None, None))


def linear_in_models() -> float:
    """Slope of log cost against log number of models, from 64 to 1024 models."""
    features, counts = SparseFeatures(10, 0.2), [64, 128, 256, 512, 1024]
    cost = []
    for n in counts:
        settings = dict(n_steps=400, batch_size=128, n_evaluation=1, workers=1, progress=False)
        runs = [train(ReLUHiddenModel(10, 5, seeds=range(n)), features, **settings) for _ in range(3)]
        cost.append(median(run.seconds for run in runs))
    return float(np.polyfit(np.log(counts), np.log(cost), 1)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where to write the table")
    parser.add_argument("--full", action="store_true", help="the authors' larger configurations to the end")
    options = parser.parse_args()
    print(f"{'':44} {'authors':>11} {'ours':>11}")
    rows = [
        per_sample("third model, n=10 m=5", ReLUHiddenModel, 10, 5, 64),
        per_sample("n=100 m=20", ReLUOutputModel, 100, 20, 64),
        thousand_starts(),
    ]
    names = list(CONFIGURATIONS)
    rows += [
        to_equal_loss(name, 3 if name == names[0] else 1) for name in names[: None if options.full else 1]
    ]
    print(f"cost grows with the number of models to the power {linear_in_models():.3f}")
    options.json.write_text(json.dumps(rows, indent=1) + "\n")
    print(f"written to {options.json}")


if __name__ == "__main__":
    main()
