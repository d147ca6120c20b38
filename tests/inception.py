"""Read InceptionV1 as vision.py reads the other networks, and write the record: `make inception`.

    python tests/inception.py [--archive PATH] [--folder _build/inception] [--page book/data/inception.json]

The weights are TensorFlow's own archive (50 MB), fetched unless its path is given, and checked by its hash
before it is read. The pictures are vision.py's, of which apt fetches a part. Every layer's readings are
stored in the folder as they come: after an interruption the same command continues.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import download
import torch
import vision as record

from toylib.networks import images
from toylib.networks.inception import (
    INCEPTION5H,
    LAST,
    NAME,
    Archive,
    check_archive,
    class_names,
    load_inception,
)
from toylib.networks.pointwise import pointwise_layers

ROOT = Path(__file__).resolve().parents[1]
LEAST = 10  # of the twenty photographs; below it, something is wrong with the reading rather than the network
# ImageNet's numbers of the photographs' classes, and what the archive calls them
PHOTOGRAPHED = {
    22: "bald eagle", 99: "goose", 129: "spoonbill", 243: "bull mastiff", 251: "dalmatian",
    305: "dung beetle", 317: "leafhopper", 438: "beaker", 455: "bottlecap", 471: "cannon [ground]",
    541: "drum", 559: "folding chair", 609: "jeep", 630: "Loafer", 741: "prayer rug", 853: "thatch",
    915: "yurt", 949: "strawberry", 990: "buckeye",
}  # fmt: skip


class Stimuli(record.Stimuli):
    """vision.py's images, and this network's layers on them."""

    path: Path
    archive: Archive

    def layers(self, name: str, trained: bool) -> list:
        seed = record.UNTRAINED_SEED
        network = load_inception(self.path, pretrained=trained, seed=seed, output=LAST, archive=self.archive)
        return pointwise_layers(network, self.pixels)


def named(path: Path, archive: Archive) -> int:
    """How many of the twenty photographs the network names correctly."""
    pixels, labels = images.photographs()
    network, names = load_inception(path, archive=archive), class_names(path, archive)
    with torch.no_grad():
        best = network.module(network.normalise(pixels)).argmax(1).tolist()
    said = [names[k] if k < len(names) else "" for k in best]
    return sum(word == PHOTOGRAPHED[label] for word, label in zip(said, labels.tolist(), strict=True))


def made() -> dict:
    """Where and when the record was made."""
    day, machine = datetime.now(UTC).date().isoformat(), f"{platform.system()} on {platform.machine()}"
    return {"on": day, "where": machine, "python": platform.python_version(), "torch": torch.__version__}


def main(
    arguments: Sequence[str] | None = None,
    *,
    archive: Archive = INCEPTION5H,
    stimuli: Callable[[Path], Stimuli] = Stimuli,
    least: int = LEAST,
) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--archive", default="", help=f"{archive.name}, if it is here already")
    parser.add_argument("--folder", type=Path, default=ROOT / "_build" / "inception", help="of what is done")
    parser.add_argument("--pictures", type=Path, default=ROOT / "_build" / "vision", help="where apt's lie")
    parser.add_argument("--page", type=Path, default=ROOT / "book" / "data" / "inception.json")
    chosen = parser.parse_args(arguments)
    if not chosen.page.parent.is_dir():
        parser.error(f"--page must lie in a folder that is there; got {chosen.page}")
    torch.set_num_threads(1)
    path = Path(chosen.archive).expanduser() if chosen.archive else download.fetched(archive, chosen.folder)
    check_archive(path, archive)
    right = named(path, archive)
    if right < least:
        raise RuntimeError(
            f"InceptionV1 must name {least} of the twenty photographs; got {right}: the graph is not run as "
            "it should be, and no record is written"
        )
    parts = chosen.folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    seen = stimuli(chosen.pictures)
    seen.path, seen.archive = path, archive
    page = {"made": made(), "pictures": seen.kinds, "named": right, "archive": archive.sha256}
    network = record.of_network(NAME, seen, parts)
    page["seconds"] = round(network.pop("seconds"))
    page["networks"] = {NAME: record.without_seconds(network)}
    text = json.dumps(page, separators=(",", ":")).replace("},{", "},\n{")
    chosen.page.write_text(text + "\n", encoding="utf-8")
    print(
        f"{page['seconds'] / 60:.1f} minutes of one core; {right} of 20 photographs named; in {chosen.page}"
    )


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, ValueError, ImportError) as error:
        sys.exit(str(error))
