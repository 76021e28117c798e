"""What patches say: sums of a decoder's words; and heads that look words up in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from polymodal.envs.scenes import COLOURS, SHAPES, SIZES, TEXTURES
from polymodal.nn.decoder import Decoder, continued, stored

FAMILIES = (
    ("picture", "object", "sign"),  # what has its centre here; most patches are just picture
    tuple(SIZES),
    TEXTURES,
    tuple(COLOURS),
    SHAPES,
    tuple(str(number) for number in range(32)),
)
ASKED = slice(1, 5)  # families by which questions name an object
WAYS = ("left", "right", "top", "bottom")
SPREAD = 0.7  # how far the borders lie from the middle, in lengths of a word
LAYERS, HEAD = (1, 3), 0  # where heads are put that look words up
SLOW = 8  # pairs of columns of a head that turn least, by which words are matched
SHARP, LOUD = 0.8, 0.2  # scales of queries and keys, of values and outputs: matches score 6, add .5 words


def aloud(x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
    """Words as patches say them: a column further, so that a token does not find itself in place of them."""
    return x.roll(1, -1)


def embedded(net: Decoder, words: Sequence[str]) -> Float[Tensor, "k d"]:
    """A decoder's embeddings of words.

    Raises:
        ValueError: a word that is not one token.
    """
    known = stored.needed(net.words)
    ids = [known.ids(word) for word in words]
    if bad := [word for word, some in zip(words, ids, strict=True) if len(some) != 1]:
        raise ValueError(f"not one token each: {', '.join(bad)}; patches are named by single tokens")
    return net.embed(torch.tensor([some[0] for some in ids])).detach()


class Voice(nn.Module):
    """Names of patches as vectors of a decoder's stream.

    Args:
        net: whose words; its embeddings are to stay as they are.
        side: patches in a row.

    Attributes:
        places: where each patch lies, from the middle, as it is said along `ways`.
    """

    places: Tensor
    ways: Tensor

    def __init__(self, net: Decoder, side: int) -> None:
        super().__init__()
        for i, family in enumerate(FAMILIES):
            self.register_buffer(f"words_{i}", aloud(embedded(net, family)))
        left, right, top, bottom = aloud(embedded(net, WAYS))
        self.register_buffer("ways", functional.normalize(torch.stack([right - left, bottom - top])))
        middle = (2 * torch.arange(side) + 1) / side - 1
        self.register_buffer("places", SPREAD * torch.cartesian_prod(middle, middle).flip(-1))

    def family(self, i: int) -> Float[Tensor, "k d"]:
        """The words of a family, aloud."""
        return self.get_buffer(f"words_{i}")

    def forward(self, names: Int[Tensor, "b n 6"]) -> Float[Tensor, "b n d"]:
        """The words that name each patch, by family, −1 for none, and where it lies."""
        said = self.places @ self.ways
        for i in range(len(FAMILIES)):
            word = self.family(i)[names[..., i].clamp(min=0)]
            said = said + word * (names[..., i] >= 0)[..., None]
        return said


class Reader(nn.Module):
    """A decoder whose pictures are told: each slot `<image>` is the sum of the words that name the patch."""

    def __init__(self, decoder: Decoder, side: int = 8) -> None:
        super().__init__()
        self.decoder, self.voice = decoder, Voice(decoder, side)
        self.words = stored.needed(decoder.words)

    def forward(self, *given: Tensor) -> Float[Tensor, "b t k"]:
        """Scores of the token after each, of ids "b t"; before them, names "p n 6" of the rows with slots."""
        scores: Tensor = self.decoder(embeds=self.embed(*given))
        return scores

    def embed(self, *given: Tensor) -> Float[Tensor, "b t d"]:
        """What stands for tokens and patches, given as for `forward`."""
        *names, ids = given
        embeds = self.decoder.embed(ids)
        if not names:
            return embeds
        slots = (ids == self.words.image)[..., None]
        return embeds.masked_scatter(slots, self.voice(names[0].long()))

    def generate(
        self,
        names: Float[Tensor, "p n 6"],
        ids: Int[Tensor, "b t"],
        mask: Bool[Tensor, "b t"],
        *,
        tokens: int,
    ) -> list[str]:
        """Greedy replies to prompts that end together."""
        made = continued(self.decoder, self.embed(names, ids), mask, end=self.words.end, tokens=tokens)
        return [self.words.text(row.ids) for row in made]


@torch.no_grad()
def look_up(net: Decoder) -> None:
    """Puts heads into a fresh decoder that find, by a word, the patches that say it, and say their words.

    A head matches words of the families by which objects are asked for, whitened, in its columns that turn
    least, since at 200 tokens the others have turned to anything. After 200 steps of 16 rows of questions, on
    patches that say exactly what they show, .80 of shapes and .71 of colours are right, without it .11 and
    .12.
    """
    width = net.shape.dim // net.shape.heads
    names = [embedded(net, family) for family in FAMILIES]
    apart = [words - words.mean(0) for words in names]
    ways = embedded(net, WAYS)
    _, values, found = torch.linalg.svd(torch.cat(apart[ASKED]), full_matrices=False)
    match = SHARP * found[: 2 * SLOW] / values[: 2 * SLOW, None]
    told = torch.linalg.svd(torch.cat([*apart[1:], ways[1::2] - ways[::2]]), full_matrices=False)[2][:width]
    half = torch.arange(width // 2 - SLOW, width // 2)
    some = HEAD * width + torch.stack([half, half + width // 2], 1).flatten()
    head = slice(HEAD * width, (HEAD + 1) * width)
    for at in LAYERS:
        part: Any = net.model.layers[at].self_attn
        part.q_proj.weight[head] = part.k_proj.weight[head] = 0
        part.q_proj.weight[some], part.k_proj.weight[some] = match, aloud(match)
        part.v_proj.weight[head], part.o_proj.weight[:, head] = LOUD * aloud(told), LOUD * told.T
