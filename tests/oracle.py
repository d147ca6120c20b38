"""What every engine is held against: autograd in double precision, a model at a time, on the same inputs."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import jaxtyping
import numpy as np
import torch

from toylib.draws import (
    AS_THEY_COME,
    CORRELATED,
    HELD_OUT,
    NOISE,
    TRAINING,
    draw_dense,
    draw_normal,
    new_stream,
)
from toylib.engines import strata


@contextmanager
def shape_checks_stand_aside() -> Iterator[None]:
    """The engines' own calls are checked; here the checks would take longer than the sums."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


def inputs(features, row, state, n, given):
    """The stream's next n inputs (1, n, n_features) of those given."""
    x = np.empty((n, features.n_features), np.float32)
    draw_dense(state, features.unit_probability[row], given, *features.units, features.signed, x)
    return torch.from_numpy(x).double()[None]


def alone(features, row):
    """Probability that feature i is active and no other is, feature by feature."""
    kind, start, members = features.units
    p = np.zeros(features.n_features)
    for unit, q in enumerate(features.unit_probability[row]):
        of_unit = members[start[unit] : start[unit + 1]]
        others = np.prod(1 - np.delete(features.unit_probability[row], unit))
        if kind[unit] != CORRELATED or len(of_unit) == 1:
            p[of_unit] = q * others / len(of_unit)
    return p


def on_lines(features, lines):
    """Inputs (1, n, n_features) with one feature alone, four nodes in each of 64 cells, and their weights.

    lines: how much each feature's line weighs; of those that weigh nothing there are no inputs.
    """
    node, weight = np.polynomial.legendre.leggauss(4)
    v = (np.arange(64)[:, None] + (node + 1) / 2).ravel() / 64
    weights = np.tile(weight / 2, 64) / 64
    if features.signed:
        v, weights = np.concatenate([v, -v]), np.concatenate([weights, weights]) / 2
    alone = np.flatnonzero(lines)
    x = np.zeros((len(alone), len(v), features.n_features))
    x[np.arange(len(alone)), :, alone] = v
    weights = lines[alone, None] * weights
    return torch.from_numpy(x.reshape(1, -1, features.n_features)), torch.from_numpy(weights.ravel())


def error(model, x, *, q=2.0, slope=0.0, noise=0.0):
    """|x' - y|^q as the model is called; written out where there is a slope of shut output ReLUs (in the
    gradient alone) or noise, for which a call has no place."""
    if not slope and isinstance(noise, float):
        return (model(x) - model.target(x)).abs() ** q
    o = hidden(model, x, noise) @ model.W_out.mT + model.b_final[:, None]
    y = o
    if model.output_relu:
        y = torch.relu(o) + slope * (o - o.detach()) * (o <= 0)
    return (y - model.target(x)).abs() ** q


def hidden(model, x, noise):
    """The hidden layer, with noise before its ReLU."""
    if isinstance(noise, float):
        return model.hidden(x)
    h = x @ model.W_in.mT + noise
    return torch.relu(h) if model.hidden_relu else h


def each_input(model, importance, settings, slope, x, noise=0.0):
    """Loss and activity cost of every input."""
    loss = (error(model, x, q=settings.loss_exponent, slope=slope, noise=noise) * importance).sum(2)
    return loss + settings.activity_cost * hidden(model, x, noise).abs().sum(2)


@shape_checks_stand_aside()
def trained(model, features, settings):
    """Every instance by itself: its parameters, its mean loss, and which entries are beyond rounding."""
    rows = np.broadcast_to(features.equal_rows, model.n_instances)
    importances = torch.from_numpy(features.importance).expand(model.n_instances, -1)
    results = []
    in_strata, _ = strata.in_strata(model, features, settings)
    for k in range(model.n_instances):
        one, row, q = model.select([k]).double(), int(rows[k]), settings.loss_exponent
        stream = int(model.seeds[k]) // settings.models_per_stream
        state, noise_state = (new_stream(stream, use + settings.data_seed) for use in (TRAINING, NOISE))
        active = float(features.active_probability[row]) if settings.skip_empty else 1.0
        given = features.given_active(row) if settings.skip_empty else AS_THEY_COME
        lines = np.zeros(features.n_features)
        if in_strata[row]:
            given, lines = strata.given_rest(features, row), alone(features, row) / active
            along, weights = on_lines(features, lines)
        learned = {name: p for name, p in one.named_parameters() if p.requires_grad}
        optimiser = torch.optim.Adam(learned.values(), lr=0.0, betas=settings.betas, eps=settings.eps)
        steps = np.arange(settings.n_steps)
        total, sure = 0.0, {name: torch.ones_like(p, dtype=torch.bool) for name, p in one.named_parameters()}
        for rate, slope in zip(settings.rates(steps), settings.slopes(steps), strict=True):
            x = inputs(features, row, state, settings.batch_size, given)
            noise = 0.0
            if settings.hidden_noise:
                drawn = np.empty((settings.batch_size, model.n_hidden), np.float32)
                draw_normal(noise_state, settings.hidden_noise, drawn)
                noise = torch.from_numpy(drawn).double()[None]
            of = functools.partial(each_input, one, importances[k], settings, slope)
            loss = (1 - lines.sum()) * of(x, noise).mean()
            if lines.any():
                loss = loss + of(along)[0] @ weights
            empty = error(one, torch.zeros_like(x[:, :1]), q=q)
            loss = loss + (1 - active) / active * (empty * importances[k]).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.param_groups[0]["lr"] = rate
            total += float(loss.detach()) * active / settings.n_steps
            for name, p in learned.items():  # Adam makes a whole step of any gradient, of rounding alone too
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
                size = p.grad.abs()
                sure[name] &= (size == 0) | (size > 1e-4 * size.max())
                with torch.no_grad():
                    p.mul_(1 - rate * settings.weight_decay)
            optimiser.step()
        results.append((one.state_dict(), total, sure))
    return results


@shape_checks_stand_aside()
def evaluated(model, features, n_samples, q=2.0):
    """Held-out loss (n_instances,), inputs without an active feature counted exactly."""
    rows = np.broadcast_to(features.equal_rows, model.n_instances)
    importances = torch.from_numpy(features.importance).expand(model.n_instances, -1)
    losses = []
    for k in range(model.n_instances):
        one, row = model.select([k]).double(), int(rows[k])
        active, lines = features.active_probability[row], alone(features, row)
        if strata.possible(model, features):
            given = strata.given_rest(features, row)
        else:
            given, lines = features.given_active(row), 0 * lines
        x = inputs(features, row, new_stream(0, HELD_OUT), n_samples, given)
        some = (1 - lines.sum() / active) * (error(one, x, q=q) * importances[k]).sum(2).mean()
        if lines.any():
            along, weights = on_lines(features, lines / active)
            some = some + (error(one, along, q=q) * importances[k]).sum(2)[0] @ weights
        none = (error(one, torch.zeros_like(x[:, :1]), q=q) * importances[k]).sum()
        losses.append(float((active * some + (1 - active) * none).detach()))
    return np.array(losses)


def assert_same(run, expected):
    """A run's losses and parameters are the oracle's: single precision, over a few steps."""
    for k, (parameters, loss, sure) in enumerate(expected):
        np.testing.assert_allclose(run.loss_history[:, k].mean(), loss, rtol=3e-4, atol=1e-7)
        for name, value in run.model.state_dict().items():
            ours, theirs = value[k].double(), parameters[name][0]
            torch.testing.assert_close(ours[sure[name][0]], theirs[sure[name][0]], rtol=1e-3, atol=2e-4)
