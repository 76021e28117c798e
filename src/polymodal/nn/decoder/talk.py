"""One prompt, one reply: what chat runs of a pocket model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from polymodal.nn.decoder import stored
from polymodal.nn.decoder.decode import continued
from polymodal.nn.decoder.language import Decoder
from polymodal.nn.decoder.prompt import question
from polymodal.nn.decoder.seeing import Seeing


@dataclass(frozen=True, slots=True)
class Said:
    """A reply in plain values.

    Attributes:
        text: the words.
        taken: tokens of the prompt, patches included.
        seen: patches of it.
        made: tokens of the reply, the one that ends it included.
        ended: whether it ended by itself.
        first: log-probabilities of words for its first token, where asked for.
    """

    text: str
    taken: int
    seen: int
    made: int
    ended: bool
    first: dict[str, float] | None


class Voice:
    """A pocket model loaded from a folder, which answers a text and at most one picture.

    Attributes:
        sees: whether it takes a picture.
        net: the model itself.
    """

    def __init__(self, folder: Path) -> None:
        self.sees = stored.kind(folder) == "llava"
        loaded: Callable[[Path], Any] = (Seeing if self.sees else Decoder).from_pretrained
        self.net = loaded(folder)
        self._decoder: Decoder = self.net.language_model if self.sees else self.net
        self._words = stored.needed(self._decoder.words)

    def room(self, lines: Sequence[str], picture: bool) -> tuple[int, int]:
        """Tokens of a prompt, and tokens that its reply may have."""
        taken = len(self._ids(lines, picture))
        return taken, self._decoder.shape.context - taken

    def say(
        self,
        lines: Sequence[str],
        picture: UInt8[np.ndarray, "_ _ 3"] | None = None,
        *,
        tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        first: int = 0,
        seed: int,
    ) -> Said:
        """Answers.

        Args:
            lines: of the prompt.
            picture: of any size.
            tokens: of the reply, at most.
            temperature: 0 is greedy.
            top_p: nucleus.
            first: so many candidates for the first token are wanted.
            seed: of the draws.
        """
        ids = torch.tensor([self._ids(lines, picture is not None)])
        with torch.no_grad():
            if self.sees:
                pixels = None if picture is None else self.net.prepare([picture])
                embeds = self.net.embed(pixels, ids)
            else:
                embeds = self.net.embed(ids)
        (row,) = continued(
            self._decoder,
            embeds,
            tokens=tokens,
            end=self._words.end,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
        )
        slots = int((ids == self._words.image).sum())
        likely = self._first(row.first, first) if first else None
        return Said(
            self._words.text(row.ids), ids.shape[1], slots, len(row.ids) + row.ended, row.ended, likely
        )

    def _ids(self, lines: Sequence[str], picture: bool) -> list[int]:
        return question(self._words, lines, self.net.patches if picture else 0)

    def _first(self, scores: torch.Tensor, n: int) -> dict[str, float]:
        """The likeliest first words; tokens that differ in a blank only are one word."""
        marks = {getattr(self._words, name): f"<{name}>" for name in ("pad", "start", "end", "image")}
        best = scores.topk(min(n, len(scores)))
        out: dict[str, float] = {}
        for value, token in zip(best.values.tolist(), best.indices.tolist(), strict=True):
            word = marks.get(token) or self._words.text([token])
            out[word] = min(0.0, math.log(math.exp(out.get(word, -math.inf)) + math.exp(value)))
        return out
