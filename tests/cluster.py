"""A slice of the factorial on two Dask workers, of which one is lost midway, beside one process.

The workers are programs of their own that know the scheduler's address, as they would on other machines, and
one that is killed does not come back.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import distributed
import factorial as script
import numpy as np

from toylib.runs import store
from toylib.studies import factorial

ROOT = Path(__file__).resolve().parents[1]
KILLED_AFTER = 0.3  # of the blocks are stored


def cells(per_task: int) -> list[tuple]:
    """So many cells of each task, drawn at random."""
    rng, every = np.random.default_rng(0), list(factorial.cells())
    chosen = []
    for task in factorial.TASKS:
        of_task = [cell for cell in every if cell[0] == task]
        chosen += [of_task[k] for k in np.sort(rng.choice(len(of_task), per_task, replace=False))]
    return chosen


def trained(task: str, chosen: list[tuple], seeds: np.ndarray, folder: Path | None, **common: Any) -> list:
    """What the script shows of a task's cells, their layers stored in the folder."""
    own = [cell for cell in chosen if cell[0] == task]
    return list(script.trained(task, own, seeds, common=common, folder=folder, progress=False))


def stored(folder: Path) -> dict[str, bytes]:
    """Every stored block, by its file's name: all parameters, losses and histories."""
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


@contextlib.contextmanager
def two_workers() -> Iterator[distributed.Client]:
    """A scheduler, two workers of one thread that nobody starts again, and a client; joblib runs there."""
    with contextlib.ExitStack() as stack:
        cluster = stack.enter_context(
            distributed.LocalCluster(n_workers=0, dashboard_address=None, silence_logs=50)
        )
        command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
        command += ["--no-nanny", "--nthreads", "1", "--no-dashboard"]
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        }
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        for _ in range(2):
            worker = subprocess.Popen(
                command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            stack.callback(worker.wait)
            stack.callback(worker.kill)
        client = stack.enter_context(script.on_cluster(cluster.scheduler_address))
        client.wait_for_workers(2, timeout=120)
        yield client


@contextlib.contextmanager
def losing_one(client: distributed.Client, n_blocks: int) -> Iterator[dict[str, int]]:
    """Kill a worker that is at work, as soon as the share KILLED_AFTER of so many blocks is stored.

    Gives a dict that afterwards says how many blocks were `stored` when it was killed, and how many
    were `lost`: given to it and not yet done.
    """
    pids, said, kept, save = client.run(os.getpid), {}, [], store.save

    def and_kill(*arguments: Any) -> None:
        save(*arguments)
        kept.append(1)
        if said or len(kept) < KILLED_AFTER * n_blocks:
            return
        tasks = {worker: len(keys) for worker, keys in client.processing().items()}
        busiest = max(tasks, key=lambda worker: tasks[worker])
        said.update(stored=len(kept), lost=tasks[busiest])
        os.kill(pids[busiest], signal.SIGKILL)

    store.save = and_kill
    try:
        yield said
    finally:
        store.save = save


# --- what it costs -----------------------------------------------------------------------------------------

PEAK = """
import resource, sys
from pathlib import Path
def peak():
    status = Path("/proc/self/status")
    if status.is_file():  # Linux: ru_maxrss would begin with the peak of the process that started this one
        return next(int(l.split()[1]) for l in status.read_text().splitlines() if "VmHWM" in l) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
"""
COLLECT = f"""
{PEAK}
sys.path.insert(0, "tests")
import cluster
chosen = [cell for cell in cluster.factorial.cells() if cell[0] == "copy"][:int(sys.argv[1])]
cluster.trained("copy", chosen, cluster.seeds_of("copy"), None, n_steps=1, warmup=0)
print(peak())
"""


def seeds_of(task: str) -> np.ndarray:
    """Those of the factorial's layers of a task."""
    return script.seeds(script.N_STARTS.get(task, 2))


def costs(per_task: int = 4) -> dict:
    """The slice in one process, task by task, then on two workers that become one; and whether bits differ.

    Units: seconds of processor time, bytes.
    """
    chosen, tasks = cells(per_task), {}
    with tempfile.TemporaryDirectory() as room:
        alone, spread = Path(room) / "alone", Path(room) / "spread"
        for task in factorial.TASKS:
            seeds = seeds_of(task)
            before, started = set(stored(alone)), time.process_time()
            trained(task, chosen, seeds, alone)
            seconds = time.process_time() - started
            files = [path for path in alone.iterdir() if f"{path.stem}.safetensors" not in before]
            tasks[task] = {
                "layers": per_task * len(seeds), "steps": factorial.SCHEDULE["n_steps"], "seconds": seconds,
                "stored": sum(path.stat().st_size for path in files),
            }  # fmt: skip
            print(f"{task}: {tasks[task]['layers']} layers in {seconds:.1f} s of processor time", flush=True)
        return {"tasks": tasks, "memory": memory(), "cluster": on_two(chosen, alone, spread)}


def memory() -> dict[str, list[int]]:
    """Peak in bytes of a process that trains few cells of `copy` for a step in a call, and of one of many."""
    peaks, each = {}, len(seeds_of("copy"))
    for n in (10, 150):
        done = subprocess.run(
            [sys.executable, "-c", COLLECT, str(n)], capture_output=True, check=True, cwd=ROOT
        )
        peaks[n * each] = int(done.stdout)
        print(f"{n * each} layers in a call: a peak of {peaks[n * each] / 1e6:.0f} MB", flush=True)
    return {"layers": list(peaks), "peak": list(peaks.values())}


def on_two(chosen: list[tuple], alone: Path, spread: Path) -> dict:
    """The same on two workers, of which one is lost; against what one process had stored."""
    with two_workers() as client, losing_one(client, len(chosen)) as said:
        for task in factorial.TASKS:
            trained(task, chosen, seeds_of(task), spread)
    one = stored(alone)
    same = one == stored(spread)
    print(
        f"a worker of two killed after {said['stored']} of {len(one)} blocks: same bits: {same}", flush=True
    )
    return {"blocks": len(one), "same": same, **said}


if __name__ == "__main__":
    print(json.dumps(costs(int(sys.argv[1]) if sys.argv[1:] else 4), indent=1))
