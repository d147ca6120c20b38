"""The page's engine, opened in the browser as a page would have it, and called from a test or the bench."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from playwright.sync_api import Browser

from toylib.features import SparseFeatures
from toylib.models import ToyModel
from toylib.page import wasm
from toylib.training import evaluate

HOW = {"page, SIMD": "simd", "page, scalar": "scalar", "page, JavaScript": "javascript"}
CALLS = """
const choices = {javascript: {name: "javascript", module: null}};
for (const name of ["simd", "scalar"]) choices[name] = await fastest({[name]: KERNELS[name]});
const begin = (name, setting, starts, stream) => {
  const how = choices[name], rows = starts.map(row => Float32Array.from(row));
  const engine = how.module ? new Kernel(how.module, setting, rows) : new Plain(setting, rows);
  engine.aim("train", stream);
  return engine;
};
window.engines = {
  choices, begin, startOf, normals, MEASURES, modelOf, Job, Trainer, complete, fastest,
  train(name, setting, starts, stream) {
    const engine = begin(name, setting, starts, stream);
    engine.step(setting.steps);
    return {weights: starts.map((_, k) => Array.from(engine.weights(k))), totals: engine.totals};
  },
  inputs(name, setting, stream, which, batches) {
    const engine = begin(name, setting, [startOf(setting, 0)], stream), found = [];
    engine.aim(which, stream);
    for (let b = 0; b < batches; b++) {
      if (name === "javascript") {
        engine.draw();
        const {start, index, value, size} = engine.batch;
        const pair = k => [index[k], value[k]];
        for (let s = 0; s < size; s++) {
          found.push(Array.from({length: start[s + 1] - start[s]}, (_, k) => pair(start[s] + k)));
        }
        continue;
      }
      const {calls} = engine;
      calls.draw();
      for (let s = 0; s < setting[which].batch; s++) {
        const pair = k => [calls.active_feature(s, k), calls.active_value(s, k)];
        found.push(Array.from({length: calls.n_active(s)}, (_, k) => pair(k)));
      }
    }
    return found;
  },
  gradients(name, setting, starts, stream, slope) {
    const {calls} = begin(name, setting, starts, stream);
    calls.draw();
    calls.gradients(slope);
    return starts.map((row, k) => [calls.loss(k), ...row.map((_, r) => calls.gradient(k, r))]);
  },
};
"""


def opened(browser: Browser) -> Any:
    """A page that holds the engine, without a network."""
    page = browser.new_page()
    page.route("**/*", lambda route: route.abort())
    page.set_content(
        f'<!doctype html><title>engine</title><script type="module">{wasm.source()}\n{CALLS}</script>'
    )
    page.wait_for_function("window.engines")
    return page


def by_feature(model: ToyModel, k: int) -> list[float]:
    """Weights of one model in the order that the page has them."""
    parts = [model.W_in[k].mT] if model.tied else [model.W_in[k].mT, model.W_out[k]]
    return torch.cat([part.reshape(-1) for part in (*parts, model.b_final[k])]).tolist()


def put(model: ToyModel, k: int, weights: list[float]) -> None:
    """Give one model the weights that the page has."""
    n, m = model.n_features, model.n_hidden
    values = torch.tensor(weights, dtype=torch.float32)
    with torch.no_grad():
        model.W_in[k] = values[: n * m].reshape(n, m).mT
        if not model.tied:
            model.W2[k] = values[n * m : 2 * n * m].reshape(n, m)  # type: ignore[operator]
        model.b_final[k] = values[-n:]


def train(page: Any, how: str, model: ToyModel, features: SparseFeatures, **settings: Any) -> SimpleNamespace:
    """As `training.train`, in the page: a call for each stream of inputs that the models have."""
    per = settings.get("models_per_stream", 64)
    rows = np.broadcast_to(features.equal_rows, model.n_instances)
    keys = [(int(row), int(seed) // per) for row, seed in zip(rows, model.seeds, strict=True)]
    history, loss = np.empty((1, model.n_instances)), np.empty(model.n_instances)
    for key, group in itertools.groupby(sorted(range(len(keys)), key=lambda k: keys[k]), lambda k: keys[k]):
        members = list(group)
        own = features if features.n_instances == 1 else features.select([members[0]])
        setting = wasm.setting(model.select(members), own, **settings)
        found = page.evaluate(
            "all => engines.train(...all)",
            [HOW[how], setting, [by_feature(model, k) for k in members], key[1]],
        )
        for k, weights, total in zip(members, found["weights"], found["totals"], strict=True):
            put(model, k, weights)
            history[0, k] = total * setting["train"]["active"] / setting["steps"]
        chosen = model.select(members)
        n_samples = settings.get("n_evaluation", 16384)
        loss[members] = evaluate(
            chosen, own, n_samples=n_samples, seed=settings.get("evaluation_seed", 0)
        ).loss
    return SimpleNamespace(model=model, loss_history=history, loss=loss)
