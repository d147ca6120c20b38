"""What toylib is held against: the authors' public loop, as they wrote it and by two tools that batch it.

Three ways to take the same step, in single precision on one thread: 1,024 inputs drawn anew for every model,
the same loss, AdamW at a constant 1e-3. `AuthorsLoop` is theirs, written over the stacked models.
`FunctionLoop` is the step of one model, batched by torch.func's vmap; `JaxLoop` the same by JAX's, compiled
as a whole by jit. The book does not require JAX: the extra "bench" in pyproject.toml names it, and without
it its rows are left out.
"""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import numpy as np
import torch

from toylib.models import ToyModel

AUTHORS_BATCH, AUTHORS_LR = 1024, 1e-3
NO_JAX = (
    "JAX is not installed, and its rows are left out: "
    'see the extra "bench" in pyproject.toml, and CONTRIBUTING.md'
)


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
        self.optimiser = torch.optim.AdamW([self.W, self.b], lr=AUTHORS_LR)

    def inputs(self):
        """A batch, (AUTHORS_BATCH, n_instances, n_features)."""
        shape = (AUTHORS_BATCH, *self.b.shape)
        return torch.where(torch.rand(shape) <= self.density, torch.rand(shape), torch.zeros(()))

    def update(self, x):
        hidden = torch.einsum("...if,ifh->...ih", x, self.W)
        if self.model.hidden_relu:
            hidden = torch.relu(hidden)
        out = torch.relu(torch.einsum("...ih,ifh->...if", hidden, self.W) + self.b)
        error = self.importance * (x - out) ** 2
        loss = error.mean((0, 2)).sum()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()

    def step(self):
        self.update(self.inputs())

    def trained(self) -> ToyModel:
        with torch.no_grad():
            self.model.W.copy_(self.W.mT)
            self.model.b_final.copy_(self.b)
        return self.model


class FunctionLoop(AuthorsLoop):
    """Their step written for one model, and batched over models by torch.func."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.gradients = torch.func.vmap(torch.func.grad(self.loss, argnums=(0, 1)))

    def loss(self, W, b, x):
        hidden = x @ W
        if self.model.hidden_relu:
            hidden = torch.relu(hidden)
        out = torch.relu(hidden @ W.T + b)
        return (self.importance * (x - out) ** 2).mean()

    def inputs(self):
        """A batch for each model, (n_instances, AUTHORS_BATCH, n_features)."""
        n_instances, n_features = self.b.shape
        shape = (n_instances, AUTHORS_BATCH, n_features)
        density = self.density.swapaxes(0, 1)
        return torch.where(torch.rand(shape) <= density, torch.rand(shape), torch.zeros(()))

    def update(self, x):
        self.W.grad, self.b.grad = self.gradients(self.W.detach(), self.b.detach(), x)
        self.optimiser.step()


class JaxLoop:
    """Their step written for one model, batched by JAX's vmap, and compiled with draws and AdamW by jit.

    W is (n_instances, n_features, n_hidden), b is (n_instances, n_features), as theirs.
    """

    def __init__(self, model_class, n_features, n_hidden, density, importance):
        jax = one_thread_of_jax()
        self.hidden_relu = model_class.hidden_relu
        self.density = jax.numpy.asarray(density, "float32")[:, None, None]
        self.importance = jax.numpy.asarray(importance, "float32")
        start = AuthorsLoop(model_class, n_features, n_hidden, density, importance)
        weights = tuple(jax.numpy.array(p.detach().numpy()) for p in (start.W, start.b))
        zeros = [jax.tree.map(jax.numpy.zeros_like, weights) for _ in range(2)]
        self.state = (weights, *zeros, jax.numpy.float32(0))
        self.key = jax.random.key(0)
        self.gradients = jax.jit(jax.vmap(jax.grad(self.loss, argnums=(0, 1))))
        self.updated = jax.jit(self.after)
        self.stepped = jax.jit(self.next, donate_argnums=(0, 1))
        self.jax = jax

    def loss(self, W, b, x):
        relu = self.jax.nn.relu
        hidden = x @ W
        if self.hidden_relu:
            hidden = relu(hidden)
        out = relu(hidden @ W.T + b)
        return (self.importance * (x - out) ** 2).mean()

    def after(self, state, x):
        """torch's AdamW: weights decay by 0.01 of the rate, then Adam's step."""
        weights, mean, square, t = state
        tree, root = self.jax.tree.map, self.jax.numpy.sqrt
        slopes, t = self.gradients(*weights, x), t + 1
        mean = tree(lambda m, g: 0.9 * m + 0.1 * g, mean, slopes)
        square = tree(lambda v, g: 0.999 * v + 0.001 * g**2, square, slopes)
        weights = tree(
            lambda w, m, v: (
                w * (1 - AUTHORS_LR * 0.01)
                - AUTHORS_LR * (m / (1 - 0.9**t)) / (root(v / (1 - 0.999**t)) + 1e-8)
            ),
            weights, mean, square,
        )  # fmt: skip
        return weights, mean, square, t

    def draw(self, key):
        """A batch for each model, (n_instances, AUTHORS_BATCH, n_features)."""
        random, n_instances, n_features = self.jax.random, *self.state[0][1].shape
        active, value = random.split(key)
        shape = (n_instances, AUTHORS_BATCH, n_features)
        return self.jax.numpy.where(
            random.uniform(active, shape) <= self.density, random.uniform(value, shape), 0.0
        )

    def next(self, state, key):
        key, own = self.jax.random.split(key)
        return self.after(state, self.draw(own)), key

    def update(self, x):
        self.state = self.updated(self.state, x)

    def step(self):
        self.state, self.key = self.stepped(self.state, self.key)
        self.jax.block_until_ready(self.state)

    @property
    def W(self):
        return torch.from_numpy(np.array(self.state[0][0]))

    @property
    def b(self):
        return torch.from_numpy(np.array(self.state[0][1]))


def one_thread_of_jax() -> Any:
    """JAX, on the processor and on one thread, as torch is here."""
    os.environ |= {"JAX_PLATFORMS": "cpu", "NPROC": "1", "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false"}
    import jax

    jax.config.update("jax_cpu_enable_async_dispatch", False)
    return jax


PEERS = {"theirs": AuthorsLoop, "torch.func": FunctionLoop}
if importlib.util.find_spec("jax"):
    PEERS["jax"] = JaxLoop
