"""A run as it goes: blocks in threads, and what each record brings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from threading import Event
from typing import Any

import numpy as np
from torch import Tensor

from ..features import SparseFeatures
from ..models import ToyModel
from .settings import Settings

STOPPING = 2**52  # seed of the held-out inputs that decide when to stop: nothing is measured on them


def in_threads(run_block: Any, blocks: Iterable[np.ndarray], workers: int) -> None:
    """Run every block, `workers` at a time; after Ctrl-C or an error they end within a few steps."""
    stopped = Event()
    with ThreadPoolExecutor(workers) as pool:
        try:
            running = {pool.submit(run_block, rows, stopped) for rows in blocks}
            while running:  # in turns: Ctrl-C comes between two where waiting for a lock is not interrupted
                done, running = wait(running, timeout=0.1, return_when=FIRST_COMPLETED)
                for block in done:
                    block.result()
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)


class Records:
    """What a run keeps as it goes: losses, snapshots, and for each instance its parameters so far."""

    def __init__(self, model: ToyModel, settings: Settings, measure: Callable[..., Any]) -> None:
        """measure: the held-out loss, as `training._held_out_loss` has it."""
        self.settings, self.parameters, self.measure = settings, model.state_dict(), measure
        self.history = np.full((len(settings.bounds) - 1, model.n_instances), np.nan)
        self.lowest = np.full(model.n_instances, np.inf)
        self.kept_at = np.zeros(model.n_instances, int)  # a record
        self.taken = {
            step: {key: value.clone() for key, value in self.parameters.items()}
            for step in settings.snapshots
        }

    def steps_since(self, step: int) -> int:
        """Steps since the record before this one."""
        return step - self.settings.bounds[self.settings.bounds.index(step) - 1]

    def keep(
        self,
        rows: np.ndarray,
        part: ToyModel,
        features: SparseFeatures,
        step: int,
        loss: np.ndarray,
        stopped: Event,
    ) -> bool:
        """Keep what this record brought to these rows; whether an instance of them goes on."""
        record, patience = self.settings.bounds.index(step), self.settings.patience
        going = record - self.kept_at[rows] <= (patience or record)
        better = going
        if patience:
            held_out, _ = self.measure(
                part, features, self.settings.n_evaluation, STOPPING, self.settings.loss_exponent, stopped
            )
            better = going & (held_out < self.lowest[rows])
            if not stopped.is_set():
                self.lowest[rows[better]] = held_out[better]
        if stopped.is_set():
            return False
        self.history[record - 1, rows[going]] = loss[going]
        self.kept_at[rows[better]] = record
        self._copy(part, rows, better, self.parameters)
        if step in self.taken:
            self._copy(part, rows, going, self.taken[step])
        return bool((record - self.kept_at[rows] < (patience or record)).any())

    @staticmethod
    def _copy(part: ToyModel, rows: np.ndarray, chosen: np.ndarray, to: dict[str, Tensor]) -> None:
        for key, value in part.state_dict().items():
            to[key][rows[chosen]] = value[chosen]
