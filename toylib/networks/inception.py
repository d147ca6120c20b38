"""InceptionV1 itself, from TensorFlow's own archive: no package carries it, so a reader fetches or brings it.

torchvision's googlenet is another network: it normalises batches, and has 3x3 kernels in the place of 5x5.
"""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..checks import a_bool, a_seed, checked, refuse
from .frozen_graph import nodes
from .loading import reading, stop_at
from .pointwise import Kernel
from .tensorflow_graph import GraphNetwork
from .vision import VisionNetwork, _scaled

NAME, MEAN = "inception-v1", 117.0
CHANNELS = "conv2d0", "conv2d1", "conv2d2"
BLOCKS = tuple(f"mixed{block}" for block in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b"))
READERS = "1x1", "3x3_bottleneck", "5x5_bottleneck"  # of a block: they read its input place by place
LOGITS, LAST = "softmax2_pre_activation", "mixed5b"


class Archive(NamedTuple):
    """A file that is fetched, its length in bytes and its hash; in it, a graph and the names of classes."""

    url: str
    size: int
    sha256: str
    graph: str = "tensorflow_inception_graph.pb"
    labels: str = "imagenet_comp_graph_label_strings.txt"

    @property
    def name(self) -> str:
        return self.url.rsplit("/", 1)[-1]


# Apache-2.0; the length and the hash are those that TensorFlow's own build pins
INCEPTION5H = Archive(
    "https://storage.googleapis.com/download.tensorflow.org/models/inception5h.zip",
    49_937_555,
    "d13569f6a98159de37e92e9c8ec4dae8f674fbf475f69fe6199b514f756d4364",
)


def check_archive(path: str | Path, archive: Archive = INCEPTION5H) -> None:
    """Stop unless the file is the archive, byte for byte.

    Raises: ValueError naming the file, its length and its hash.
    """
    must = f"archive must be {archive.name}, {archive.size:,} bytes with SHA-256 {archive.sha256}"
    if not Path(path).is_file():
        refuse(must, f"{str(path)!r}, where there is no file")
    size = Path(path).stat().st_size
    if size != archive.size:
        refuse(must, f"{str(path)!r} of {size:,} bytes")
    with Path(path).open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != archive.sha256:
        refuse(must, f"{str(path)!r} with SHA-256 {found}")


def _member(path: str | Path, name: str) -> bytes:
    errors = OSError, KeyError, ValueError, zipfile.BadZipFile, NotImplementedError
    with reading(repr(str(path)), f"archive must hold {name}", *errors), zipfile.ZipFile(path) as file:
        return file.read(name)


def class_names(path: str | Path, archive: Archive = INCEPTION5H) -> list[str]:
    """What each output stands for; the first is nothing, and outputs beyond the list have no name.

    Raises: ValueError for another file than the archive.
    """
    check_archive(path, archive)
    return _member(path, archive.labels).decode(errors="replace").splitlines()


class InceptionV1(GraphNetwork):
    """The graph as far as an output. Pointwise are the second convolution, and most of a block's branches."""

    def kernels(self) -> dict[str, Kernel]:
        """Of every block the units that read its input place by place: its 1x1 branch and two bottlenecks.

        The fourth branch's read the largest of nine places, and are left out.
        """
        found = {}
        for name, units in self._groups().items():
            steps = [self.step(f"{unit}_pre_relu/conv").constant()[:, :, 0, 0] for unit in units]
            biases = [self.step(f"{unit}_pre_relu").constant() for unit in units]
            weights, bias = (np.concatenate([t.double().numpy() for t in each]) for each in (steps, biases))
            found[name] = Kernel(f"nodes.{units[0]}_pre_relu/conv", weights, bias, ceiling=np.inf)
        return found

    @staticmethod
    def _groups() -> dict[str, list[str]]:
        """The units of every pointwise layer."""
        return {"conv2d1": ["conv2d1"]} | {name: [f"{name}_{part}" for part in READERS] for name in BLOCKS}

    def understand(self, file: str) -> None:
        """Stop unless the graph's layers are InceptionV1's.

        Raises: ValueError naming what is missing, or does not read what it should.
        """
        odd = [f"{name} is missing" for name in (*CHANNELS, *BLOCKS) if name not in self.nodes]
        for name, units in self._groups().items():
            steps = [f"{unit}_pre_relu/conv" for unit in units]
            odd += [f"{step} is missing" for step in steps if step not in self.nodes]
            there = [step for step in steps if step in self.nodes]
            odd += [f"{step} is not 1x1" for step in there if self.step(step).constant().shape[2:] != (1, 1)]
            if len({*map(tuple, (self.reads[step] for step in there))}) > 1:
                odd.append(f"{name}'s branches do not read the same")
        stop_at(odd, "graph must hold InceptionV1's layers", f"{file!r}, where ")


@checked(pretrained=a_bool(), seed=a_seed())
def load_inception(
    path: str | Path,
    *,
    pretrained: bool = True,
    seed: int = 0,
    output: str = LOGITS,
    archive: Archive = INCEPTION5H,
) -> VisionNetwork:
    """InceptionV1 from TensorFlow's archive, whose length and hash are checked before it is read.

    output: the node that a pass ends with; the logits ask for images of 224 pixels, "mixed5b" for no size.
    pretrained=False draws kernels of the same shapes from the seed instead.

    Raises: ValueError for another file than the archive, or a graph with nodes that are missing or unknown.
    Source: Szegedy et al. 2014; pixels less 117, as its examples have it.
    """
    check_archive(path, archive)
    graph = nodes(_member(path, archive.graph), archive.graph)
    module = InceptionV1(graph, output, file=archive.graph)
    module.understand(archive.graph)
    if not pretrained:
        module.redraw(seed)
    layers = {name: f"nodes.{name}" for name in (*CHANNELS, *BLOCKS)}
    return VisionNetwork(NAME, module.eval(), layers, _scaled(MEAN, 1.0))
