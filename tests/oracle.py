"""What every engine is held against: autograd in double precision, a model at a time, on the same inputs."""

from collections.abc import Iterator
from contextlib import contextmanager

import jaxtyping
import numpy as np
import torch

from toylib.draws import HELD_OUT, NOISE, TRAINING, draw_dense, draw_normal, new_stream


@contextmanager
def shape_checks_stand_aside() -> Iterator[None]:
    """The engines' own calls are checked; here the checks would take longer than the sums."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)


def inputs(features, row, state, n, cdf):
    """The stream's next n inputs (1, n, n_features); with a cdf, none of them empty."""
    x = np.empty((n, features.n_features), np.float32)
    draw_dense(state, features.unit_probability[row], cdf, *features.units, features.signed, x)
    return torch.from_numpy(x).double()[None]


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


@shape_checks_stand_aside()
def trained(model, features, settings):
    """Every instance by itself: its parameters, its mean loss, and which entries are beyond rounding."""
    rows = np.broadcast_to(features.equal_rows, model.n_instances)
    importances = torch.from_numpy(features.importance).expand(model.n_instances, -1)
    results = []
    for k in range(model.n_instances):
        one, row, q = model.select([k]).double(), int(rows[k]), settings.loss_exponent
        stream = int(model.seeds[k]) // settings.models_per_stream
        state, noise_state = (new_stream(stream, use + settings.data_seed) for use in (TRAINING, NOISE))
        active = float(features.active_probability[row]) if settings.skip_empty else 1.0
        cdf = features.first_active_cdf(row) if settings.skip_empty else np.empty(0)
        learned = {name: p for name, p in one.named_parameters() if p.requires_grad}
        optimiser = torch.optim.Adam(learned.values(), lr=0.0, betas=settings.betas, eps=settings.eps)
        steps = np.arange(settings.n_steps)
        total, sure = 0.0, {name: torch.ones_like(p, dtype=torch.bool) for name, p in one.named_parameters()}
        for rate, slope in zip(settings.rates(steps), settings.slopes(steps), strict=True):
            x = inputs(features, row, state, settings.batch_size, cdf)
            noise = 0.0
            if settings.hidden_noise:
                drawn = np.empty((settings.batch_size, model.n_hidden), np.float32)
                draw_normal(noise_state, settings.hidden_noise, drawn)
                noise = torch.from_numpy(drawn).double()[None]
            loss = (error(one, x, q=q, slope=slope, noise=noise) * importances[k]).sum(2).mean()
            empty = error(one, torch.zeros_like(x[:, :1]), q=q)
            loss = loss + (1 - active) / active * (empty * importances[k]).sum()
            if settings.activity_cost:
                loss = loss + settings.activity_cost * hidden(one, x, noise).abs().sum(2).mean()
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
        x = inputs(features, row, new_stream(0, HELD_OUT), n_samples, features.first_active_cdf(row))
        active = features.active_probability[row]
        some = (error(one, x, q=q) * importances[k]).sum(2).mean()
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
