"""Compile kernel.c to simd.wasm and scalar.wasm: python toylib/page/wasm/build.py [FOLDER]

Needs `pip install ziglang==0.16.0` (98 MB), which compiles in a second and gives the same bytes from any
folder; another version gives other bytes. Writes sources.txt beside them, the hash of what they were compiled
from.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

ZIG = "0.16.0"
HERE = Path(__file__).resolve().parent
FLAGS = [
    *("-target", "wasm32-freestanding", "-O3", "-nostdlib", "-Wall", "-Wextra", "-Werror"),
    *("-ffp-contract=off", "-fno-math-errno"),  # the same bits everywhere; a root is an instruction
    *("-Wl,--no-entry", "-Wl,--strip-all", "-Wl,-z,stack-size=16384"),
]
FEATURES = "bulk_memory+sign_ext+nontrapping_fptoint+mutable_globals"
CPUS = {"simd": f"mvp+simd128+{FEATURES}", "scalar": f"mvp+{FEATURES}"}


def digest() -> str:
    """Of what the kernels are compiled from: the source, and this file with its flags."""
    text = b"".join((HERE / name).read_bytes().replace(b"\r\n", b"\n") for name in ("kernel.c", "build.py"))
    return hashlib.sha256(text).hexdigest()


def compile_into(folder: Path) -> None:
    """Both kernels, and the hash of their sources, in this folder."""
    for name, cpu in CPUS.items():
        command = [sys.executable, "-m", "ziglang", "cc", *FLAGS, f"-mcpu={cpu}"]
        subprocess.run([*command, "-o", str(folder / f"{name}.wasm"), "kernel.c"], check=True, cwd=HERE)
    (folder / "sources.txt").write_text(digest() + "\n", encoding="utf-8")


if __name__ == "__main__":
    compile_into(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else HERE)
