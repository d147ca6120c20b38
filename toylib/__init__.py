"""Toy models of superposition: models, training, measures and evidence for the book's chapters.

Importing this package has one effect: torch is set to one thread, unless OMP_NUM_THREADS or
MKL_NUM_THREADS says otherwise. With a second busy process beside it, torch on two threads was
twenty times slower than on one; processes are the better parallelism for models this small.
"""

import os

import torch

if not ({"OMP_NUM_THREADS", "MKL_NUM_THREADS"} & set(os.environ)):
    torch.set_num_threads(1)

__version__ = "1.0.0"
