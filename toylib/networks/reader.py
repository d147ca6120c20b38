"""Readers: networks that read text token by token, whose layers hold MLP neurons, with one face for all.

A reader's pass can be walked layer by layer, so that the neurons of one layer at a time are in memory.
The networks themselves are in readers.py.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..checks import a_seed, checked, refuse
from ..progress import progress_bar


class Reader:
    """A network that reads text: `begin` and `step` are its own, the rest is common to all.

    A text stands between the tokens of `start` and of `end`, as the network met texts in training. A neuron
    is one entry of the vector between the two matrices of a layer's MLP. `weights` are all that `redrawn`
    draws anew.

    Shapes: a pass is (1, n_start + n_tokens + n_end, d_model); a layer's neurons (n_tokens, d_mlp) are those
            at the text's own tokens.
    """

    name: str
    n_layers: int
    d_mlp: int
    most: int  # tokens that a pass may hold, start and end counted
    start: list[int]
    end: list[int]
    weights: dict[str, Tensor]
    tokenizer: Any

    def begin(self, tokens: Tensor) -> Tensor:
        """The stream that enters the first layer."""
        raise NotImplementedError

    def step(self, layer: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """The stream after a layer, and the layer's neurons."""
        raise NotImplementedError

    # --- text ---------------------------------------------------------------------------------------------

    def encode(self, text: str, *, cut: bool = False) -> list[int]:
        """Token ids of a text, without those of start and end; `cut` leaves out what a pass cannot hold.

        Raises: ValueError for a text that has no token, or, if it is not cut, more than a pass may hold.
        """
        tokens = self.tokenizer.encode(text, add_special_tokens=False).ids
        room = self.most - len(self.start) - len(self.end)
        tokens = tokens[:room] if cut else tokens
        if not 0 < len(tokens) <= room:
            refuse(f"text must be of 1 to {room} tokens of {self.name}", f"{len(tokens)}, {text[:40]!r}")
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        return self.tokenizer.decode(list(tokens), skip_special_tokens=False)

    # --- passes -------------------------------------------------------------------------------------------

    @torch.no_grad()
    def walk(
        self, passages: Sequence[Sequence[int]], layers: Sequence[int]
    ) -> Iterator[tuple[int, Float[Tensor, "n_tokens d_mlp"]]]:
        """Each of the layers with its neurons at the tokens of all passages, one after the other.

        Memory: the streams of all passages, and the neurons of one layer.
        """
        first = len(self.start)
        streams = [self.begin(torch.tensor([[*self.start, *tokens, *self.end]])) for tokens in passages]
        ends = torch.tensor([len(tokens) for tokens in passages]).cumsum(0).tolist()
        for layer in progress_bar(range(max(layers) + 1), desc=self.name):
            kept = torch.empty(ends[-1], self.d_mlp) if layer in layers else None
            for k, (x, tokens) in enumerate(zip(streams, passages, strict=True)):
                streams[k], neurons = self.step(layer, x)
                if kept is not None:
                    kept[ends[k] - len(tokens) : ends[k]] = neurons[0, first : first + len(tokens)]
            if kept is not None:
                yield layer, kept

    @torch.no_grad()
    def at_last(self, texts: Sequence[str], layers: Sequence[int]) -> Float[Tensor, "n_texts n_layers d_mlp"]:
        """Neurons at the last token of every text, in the layers asked for.

        Raises: ValueError for a text without tokens, or a longer one than a pass may hold.
        """
        passages = [self.encode(text) for text in texts]
        last = torch.tensor([len(tokens) for tokens in passages]).cumsum(0) - 1
        return torch.stack([neurons[last] for _, neurons in self.walk(passages, layers)], dim=1)

    @checked(seed=a_seed())
    def redrawn(self, seed: int) -> Reader:
        """The same architecture with every matrix drawn anew, normal, at the mean and scale that it has.

        Gains and biases stay, so that each layer sees inputs of about the size that it was made for.
        """
        generator = torch.Generator().manual_seed(seed)
        other = copy.copy(self)
        other.weights = {
            name: w.mean() + w.std() * torch.randn(w.shape, generator=generator, dtype=w.dtype)
            if w.ndim > 1
            else w
            for name, w in self.weights.items()
        }
        return other
