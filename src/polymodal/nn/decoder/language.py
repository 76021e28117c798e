"""A causal language model of the Llama form, small enough to train here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from polymodal.nn.decoder import stored
from polymodal.nn.decoder.decode import continued, scored
from polymodal.nn.decoder.layers import Cache, Shape, Stack
from polymodal.nn.decoder.prompt import answered

if TYPE_CHECKING:
    from polymodal.nn.pocket import Tokens


class Decoder(nn.Module):
    """Tokens in, a score for each next token out; the head is the embedding.

    Tensors have the names of transformers' LlamaForCausalLM, so one folder loads in both.

    Args:
        shape: how large.
        words: its tokens; needed where texts go in or come out.
    """

    def __init__(self, shape: Shape, words: Tokens | None = None) -> None:
        super().__init__()
        self.shape, self.words = shape, words
        self.model = Stack(shape)

    @classmethod
    def pocket(
        cls,
        dim: int = 160,
        layers: int = 6,
        heads: int = 5,
        hidden: int = 432,
        vocabulary: int = 512,
        context: int = 192,
        *,
        words: Tokens | None = None,
        seed: int = 0,
    ) -> Decoder:
        """A fresh one: normal weights of σ .02, what is added to the stream by 1/√(2·layers) smaller.

        Embeddings are about 1 long, so that words begin apart; most columns of a head turn slowly (θ 10⁶), so
        that words are matched at any distance.
        """
        net = cls(Shape(dim, layers, heads, hidden, vocabulary, context, theta=1e6), words)
        stream = torch.Generator().manual_seed(seed)
        for name, weight in net.named_parameters():
            if weight.ndim == 2:
                into = name.endswith(("o_proj.weight", "down_proj.weight"))
                spread = dim**-0.5 if "embed" in name else 0.02 / math.sqrt(2 * layers) if into else 0.02
                with torch.no_grad():
                    weight.normal_(0, spread, generator=stream)
        return net

    @classmethod
    def from_pretrained(cls, source: str | Path) -> Decoder:
        """Loads `pocket-lm`, `pocket-reasoner` or a folder, into 32 bits, in eval mode.

        Raises:
            FileNotFoundError: no such folder, or no weights in it.
            ValueError: a checkpoint of another kind, or weights that are not what its config says.
        """
        folder = stored.found(source)
        config = stored.config(folder, "llama")
        net = cls(stored.shape(config, folder), stored.words(folder))
        stored.fill(net, stored.tensors(folder), folder)
        return net.eval()

    def forward(
        self,
        ids: Int[Tensor, "b t"] | None = None,
        mask: Bool[Tensor, "b t"] | None = None,
        *,
        embeds: Float[Tensor, "b t d"] | None = None,
        cache: Cache | None = None,
        last: bool = False,
    ) -> Float[Tensor, "b n k"]:
        """Scores of the token after each.

        Args:
            ids: tokens, or `embeds` in their place.
            mask: true where a token is real; needed for padding on the left only.
            embeds: what stands for the tokens.
            cache: of the tokens before these; these are added to it.
            last: of the last token only: n is t, or 1 with `last`.
        """
        if embeds is None:
            if ids is None:
                raise ValueError("a decoder reads ids or embeds, and neither was given")
            embeds = self.embed(ids)
        states = self.model(embeds, mask, cache)
        return functional.linear(states[:, -1:] if last else states, self.model.embed_tokens.weight)

    def embed(self, ids: Int[Tensor, "b t"]) -> Float[Tensor, "b t d"]:
        """What stands for the tokens in the stream."""
        out: Tensor = self.model.embed_tokens(ids)
        return out

    def generate(
        self, ids: Int[Tensor, "b t"], mask: Bool[Tensor, "b t"] | None = None, **drawing: Any
    ) -> list[str]:
        """Replies to prompts that end together, as `prompt.asked` makes them.

        Args:
            ids: prompts.
            mask: true where a token is real; without it, where it is not <pad>.
            drawing: `tokens`, `temperature`, `top_p` and `seed` of `decode.continued`.
        """
        words = stored.needed(self.words)
        mask = ids != words.pad if mask is None else mask
        made = continued(self, self.embed(ids), mask, end=words.end, **drawing)
        return [words.text(row.ids) for row in made]

    def logprobs(
        self,
        ids: Int[Tensor, "b t"],
        choices: Sequence[str] | Sequence[Sequence[str]],
        mask: Bool[Tensor, "b t"] | None = None,
    ) -> Float[Tensor, "b c"]:
        """Log-probability of each answer, its end included, after each prompt.

        Args:
            ids: prompts that end together.
            choices: the answers, the same for every row or a list a row.
            mask: true where a token is real; without it, where it is not <pad>.
        """
        words = stored.needed(self.words)
        mask = ids != words.pad if mask is None else mask
        return scored(self, self.embed(ids), mask, answered(words, choices, len(ids)))

    def files(self) -> Mapping[str, bytes]:
        """What `runs` writes so that `from_pretrained` and transformers load it: content by file name."""
        config = stored.language_config(self.shape, self.words)
        return stored.files(config, self.state_dict(), self.words)


def taught(
    logits: Float[Tensor, "b t k"], ids: Int[Tensor, "b t"], counted: Bool[Tensor, "b t"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy of the counted tokens, each told from those before it; the first never counts."""
    kept = counted[:, 1:]
    return functional.cross_entropy(logits[:, :-1][kept], ids[:, 1:][kept])
