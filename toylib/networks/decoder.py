"""A small language model in plain torch: run it, and record its MLPs layer by layer.

A neuron here is one entry of silu(gate) * up, the vector between the two matrices of a SwiGLU MLP: the only
place of the layer with a privileged basis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import rms_norm, scaled_dot_product_attention, silu

from ..checks import (
    Rule,
    a_seed,
    a_whole_number,
    checked,
    choice,
    depending,
    must,
    optional,
    refuse,
    whole_number,
)
from ..progress import progress_bar

RECORDED = ("inputs", "neurons", "outputs")  # of an MLP: after the norm, the SwiGLU product, what it adds


def _some_tokens(vocabulary_size: int) -> Rule:
    def rule(name: str, tokens: Tensor) -> Tensor:
        if tokens.ndim != 2 or tokens.numel() == 0 or tokens.is_floating_point():
            refuse(f"{name} must be whole numbers (batch, position), at least one", tuple(tokens.shape))
        if tokens.min() < 0 or tokens.max() >= vocabulary_size:
            refuse(f"{name} must be ids from 0 to {vocabulary_size - 1}", tokens.flatten()[:8].tolist())
        return tokens

    return rule


def _some_layers(n_layers: int) -> Rule:
    def rule(name: str, layers: Sequence[int] | None) -> list[int]:
        some = range(n_layers) if layers is None else layers
        return [whole_number(name, layer, at_least=0, at_most=n_layers - 1) for layer in some]

    return rule


def _some_texts(layers: list[int]) -> Rule:
    def rule(name: str, texts: Sequence[str]) -> list[str]:
        if isinstance(texts, str):
            refuse(f"{name} must be a list of texts", repr(texts))
        found = list(texts)
        if not found or not layers or not all(found):
            refuse(f"{name} must be at least one, none empty, and layers at least one", found[:3])
        return found

    return rule


def _some_vectors(name: str, what: str | Sequence[str]) -> list[str]:
    return [choice(name, word, RECORDED) for word in ([what] if isinstance(what, str) else what)]


class LanguageModel:
    """A Llama-style decoder: RMSNorm, grouped-query attention with RoPE, SwiGLU MLPs.

    The logits are read by "output.weight", or by the embedding where the two are tied. Every matrix of a
    layer may have a bias beside it.
    """

    def __init__(
        self, weights: dict[str, Tensor], tokenizer: Any, *, n_heads: int, rope_base: float, eps: float
    ):
        self.weights, self.tokenizer = weights, tokenizer
        self.n_heads, self.rope_base, self.eps = n_heads, rope_base, eps
        self.n_layers = sum(name.endswith("ffn_up.weight") for name in weights)
        self.d_mlp, self.d_model = weights["blk.0.ffn_up.weight"].shape
        self.vocabulary_size = weights["token_embd.weight"].shape[0]

    # --- text ---------------------------------------------------------------------------------------------

    @checked(
        must(
            lambda self, text: self.decode(self._ids(text)) == text,
            "text must be of characters that the vocabulary has; got {text}",
        )
    )
    def encode(self, text: str) -> list[int]:
        """Token ids of a text; special tokens such as <|endoftext|> are read as such.

        Raises: ValueError for a text with characters for whose bytes the vocabulary has no token: BPE would
                leave them out.
        """
        return self._ids(text)

    def _ids(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        return self.tokenizer.decode(list(tokens), skip_special_tokens=False)

    # --- the network --------------------------------------------------------------------------------------

    @checked(
        tokens=depending(lambda self: _some_tokens(self.vocabulary_size)),
        n_layers=depending(lambda self: optional(a_whole_number(at_most=self.n_layers))),
    )
    @torch.no_grad()
    def stream(
        self,
        tokens: Int[Tensor, "batch position"],
        *,
        n_layers: int | None = None,
        watch: Callable[[int, dict[str, Tensor]], None] | None = None,
    ) -> Float[Tensor, "batch position d_model"]:
        """The residual stream after `n_layers` layers (all by default).

        `watch(layer, {"inputs": ..., "neurons": ..., "outputs": ...})` is called with every MLP's vectors.

        Shapes: tokens (batch, position) -> (batch, position, d_model).
        Raises: ValueError if a token is not in the vocabulary or n_layers is more than the model has.
        """
        x = self.weights["token_embd.weight"][tokens]
        for layer in range(self.n_layers if n_layers is None else n_layers):
            x, mlp = self.step(layer, x)
            if watch is not None:
                watch(layer, mlp)
        return x

    @torch.no_grad()
    def step(self, layer: int, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The residual stream (batch, position, d_model) after one layer, and the vectors of its MLP."""
        w = partial(self._linear, layer)
        norm = {name: self.weights[f"blk.{layer}.{name}.weight"] for name in ("attn_norm", "ffn_norm")}
        x = x + self._attention(w, self._norm(x, norm["attn_norm"]))
        inputs = self._norm(x, norm["ffn_norm"])
        neurons = silu(w("ffn_gate", inputs)) * w("ffn_up", inputs)
        outputs = w("ffn_down", neurons)
        return x + outputs, {"inputs": inputs, "neurons": neurons, "outputs": outputs}

    @torch.no_grad()
    def logits(self, tokens: Int[Tensor, "batch position"]) -> Float[Tensor, "batch position vocabulary"]:
        """Scores of the next token at every position."""
        x = self._norm(self.stream(tokens), self.weights["output_norm.weight"])
        return x @ self.weights.get("output.weight", self.weights["token_embd.weight"]).T

    def _linear(self, layer: int, name: str, x: Tensor) -> Tensor:
        y = x @ self.weights[f"blk.{layer}.{name}.weight"].T
        bias = self.weights.get(f"blk.{layer}.{name}.bias")
        return y if bias is None else y + bias

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        return rms_norm(x, (self.d_model,), weight, self.eps)

    def _attention(self, w: Callable[[str, Tensor], Tensor], x: Tensor) -> Tensor:
        batch, n, _ = x.shape
        d_head = self.d_model // self.n_heads
        query, key, value = (
            w(name, x).view(batch, n, -1, d_head).transpose(1, 2) for name in ("attn_q", "attn_k", "attn_v")
        )
        # GGUF stores the rows so that a rotated pair is two neighbours (2i, 2i + 1), not (i, i + d_head / 2)
        rates = self.rope_base ** (-torch.arange(0, d_head, 2, dtype=torch.float32) / d_head)
        angle = torch.outer(torch.arange(n, dtype=torch.float32), rates)
        turn = torch.polar(torch.ones_like(angle), angle)

        def rope(v: Tensor) -> Tensor:
            pairs = torch.view_as_complex(v.reshape(*v.shape[:-1], -1, 2))
            return torch.view_as_real(pairs * turn).flatten(-2)

        share = query.shape[1] // key.shape[1]  # heads that read one key head
        key, value = rope(key).repeat_interleave(share, 1), value.repeat_interleave(share, 1)
        mixed = scaled_dot_product_attention(rope(query), key, value, is_causal=True)
        return w("attn_output", mixed.transpose(1, 2).reshape(batch, n, -1))

    # --- experiments --------------------------------------------------------------------------------------

    @checked(n=depending(lambda self: a_whole_number(at_most=self.vocabulary_size)))
    def next_token(self, text: str, *, n: int = 5) -> list[tuple[str, float]]:
        """The n likeliest next tokens after a text, with their probabilities.

        Raises: ValueError for an n below 1 or above the vocabulary's size, or an empty text.
        """
        p = self.logits(torch.tensor([self.encode(text)]))[0, -1].softmax(0)
        return [(self.decode([int(i)]), float(p[i])) for i in p.topk(n).indices]

    @checked(
        must(
            lambda self, text: len(self.encode(text)) > 1,
            "text must be at least two tokens long; got {text}",
        )
    )
    def loss(self, text: str) -> float:
        """Mean surprise per token of a text, in nats; the first token is not predicted."""
        tokens = torch.tensor([self.encode(text)])
        return float(torch.nn.functional.cross_entropy(self.logits(tokens)[0, :-1], tokens[0, 1:]))

    @checked(seed=a_seed())
    def randomised(self, seed: int) -> LanguageModel:
        """The same architecture as it was before training: matrices N(0, 1/d_model), norms one, biases zero.

        Source: the initialisation in SmolLM2's configuration, a standard deviation of 0.0417 = 576^-1/2.
        """
        generator = torch.Generator().manual_seed(seed)
        weights = {
            name: torch.randn(w.shape, generator=generator, dtype=torch.float32) * self.d_model**-0.5
            if w.ndim == 2
            else torch.full_like(w, not name.endswith(".bias"))
            for name, w in self.weights.items()
        }
        return LanguageModel(
            weights, self.tokenizer, n_heads=self.n_heads, rope_base=self.rope_base, eps=self.eps
        )

    @checked(
        must(lambda layers: len(set(layers)) == len(layers), "layers must not repeat; got {layers}"),
        what=_some_vectors,
        layers=depending(lambda self: _some_layers(self.n_layers)),
        batch_size=a_whole_number(),
        texts=depending(lambda layers: _some_texts(layers)),
    )
    @torch.no_grad()
    def record(
        self,
        texts: Sequence[str],
        *,
        what: Sequence[str] = ("neurons",),
        layers: Sequence[int] | None = None,
        batch_size: int = 64,
    ) -> dict[str, Float[Tensor, "n_texts n_layers _"]]:
        """MLP vectors at the last token of every text, for each layer asked for (all by default).

        Returns {name: (n_texts, n_layers, width)} for the names in `what`: "inputs" (after the norm),
        "neurons", "outputs".

        Memory: only the result and one batch are held; the run stops after the last layer asked for.
        Raises: ValueError for an empty text or no text, an unknown name, or a layer that is not there.
        """
        assert layers is not None  # its rule has made it a list
        tokens = [self.encode(text) for text in texts]
        width = {name: self.d_mlp if name == "neurons" else self.d_model for name in what}
        result = {
            name: torch.empty(len(tokens), len(layers), size, dtype=torch.float32)
            for name, size in width.items()
        }
        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))  # like lengths together
        starts = range(0, len(order), batch_size)
        for start in progress_bar(starts, desc="record"):
            rows = order[start : start + batch_size]
            last = torch.tensor([len(tokens[i]) - 1 for i in rows])
            # padding stands on the right, where causal attention lets no earlier position see it
            padded = torch.zeros(len(rows), int(last.max()) + 1, dtype=torch.long)
            for k, i in enumerate(rows):
                padded[k, : len(tokens[i])] = torch.tensor(tokens[i])

            def keep(layer: int, mlp: dict[str, Tensor], rows: list[int] = rows, last: Tensor = last) -> None:
                if layer in layers:
                    for name in what:
                        at_last = mlp[name][torch.arange(len(rows)), last]
                        result[name][rows, layers.index(layer)] = at_last

            self.stream(padded, n_layers=max(layers) + 1, watch=keep)
        return result
