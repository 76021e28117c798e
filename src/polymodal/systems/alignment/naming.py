"""A tower and a projector learn to say, in a decoder's own words, what lies under a patch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from polymodal.envs import scenes
from polymodal.envs.scenes import Object, Scene, Sign
from polymodal.nn.decoder import Seeing
from polymodal.systems.alignment.voice import FAMILIES, Voice

SHARP = 6.0  # of the softmax over a family, whose words are about 1 long
GROUND = 0.5  # what a patch without a centre weighs
PLACE, LOUDER = 4.0, 3.0  # weight of the error of where a patch lies; how it is said in the end
SHORT, NEAR, COVERED = 0.02, 0.2, 0.5  # weights of the length, of what is off, and of what covers a patch
RIDGE = 0.3  # of the whitening; smaller directions of the tower's states are noise


@dataclass(frozen=True, slots=True)
class Named:
    """Pictures and what is where.

    Attributes:
        pixels: of `Seeing.prepare`.
        names: per patch, which word of each family names what has its centre there; −1 where none does.
        covers: which words name what covers a patch, of all families but the first.
    """

    pixels: Float[Tensor, "b c h w"]
    names: Int[Tensor, "b n 6"]
    covers: Int[Tensor, "b n 5"]


def drawn(index: int, *, split: str, seed: int) -> Scene:
    """One to six objects; every fourth scene has one or two signs and at most two objects."""
    signs = index % 4 == 3
    n, texts = ((0, 2), (1, 2)) if signs else ((1, 6), (0, 0))
    return scenes.scene(index, split=split, seed=seed, n=n, signs=texts)


def named(scene: Scene, side: int) -> tuple[Tensor, Tensor]:
    """Names "n 6" and covers "n 5" of a picture of `side` patches squared."""
    names, covers = np.full((side * side, 6), -1), np.full((side * side, 5), -1)
    names[:, 0] = 0
    middles = (np.arange(side) + 0.5) / side
    things: list[Object | Sign] = [*scene.objects, *scene.signs]
    for one in things:
        if isinstance(one, Sign):
            said = [2, -1, -1, -1, -1, FAMILIES[5].index(one.text)]
        else:
            look = (one.size, one.texture, one.colour, one.shape)
            said = [1, *map(tuple.index, FAMILIES[1:5], look), -1]
        left, top, right, bottom = one.box()
        across, down = ((middles > low - 0.03) & (middles < high + 0.03) for low, high in
                        ((left, right), (top, bottom)))  # fmt: skip
        covers[(down[:, None] & across).ravel()] = said[1:]
        at = min(int(one.y * side), side - 1) * side + min(int(one.x * side), side - 1)
        names[at] = said
    return torch.from_numpy(names), torch.from_numpy(covers)


def batch(net: Seeing | Namer, found: Sequence[Scene]) -> Named:
    """Scenes as a batch."""
    told = [named(scene, round(net.patches**0.5)) for scene in found]
    pixels = net.prepare([scenes.pixels(scene) for scene in found])
    return Named(pixels, *(torch.stack(parts) for parts in zip(*told, strict=True)))


def batches(rows: int, size: int, *, seed: int) -> Callable[[int], Iterator[Int[Tensor, " b"]]]:
    """Batches of an epoch: which scenes; drawn when looked at, so that skipping them costs nothing."""

    def epoch(number: int) -> Iterator[Tensor]:
        order = torch.from_numpy(np.random.default_rng((seed, number)).permutation(rows))
        yield from order[: rows // size * size].view(-1, size)

    return epoch


class Namer(nn.Module):
    """A tower and a projector, and the words that the decoder knows; the decoder itself stays as it is.

    A patch's state is held against a family's words, less their mean, as `Voice` says them: it comes to say
    about their sum, and where it lies.

    Args:
        net: its tower and projector are trained in place; the projector's first layer is whitened on the
            tower's states, whose singular values span two orders.
        seed: of the scenes that are looked at for that, and of the probes.

    Attributes:
        wide: whether every patch under a thing says what it is, or the one of its centre alone, which learns
            sooner; a decoder finds what many patches say, and hardly what one of 64 does.

    Raises:
        ValueError: a word of `FAMILIES` that is not one token.
    """

    def __init__(self, net: Seeing, *, seed: int = 0) -> None:
        super().__init__()
        self.patches, self.prepare, self.seed, self.wide = net.patches, net.prepare, seed, False
        self.vision_tower = net.vision_tower.requires_grad_(True)
        self.multi_modal_projector = net.multi_modal_projector
        stream = torch.Generator().manual_seed(seed)
        probes = [nn.Linear(net.vision_tower.dim, len(family)) for family in FAMILIES[1:]]
        for probe in probes:
            nn.init.normal_(probe.weight, std=0.05, generator=stream)
            nn.init.zeros_(probe.bias)
        self.probes = nn.ModuleList(probes)
        self.voice = Voice(net.language_model, round(net.patches**0.5))
        self._whiten(net, seed=seed)

    @torch.no_grad()
    def _whiten(self, net: Seeing, *, seed: int) -> None:
        found = [drawn(i, split="whitening", seed=seed) for i in range(300)]
        states = net.look(batch(net, found).pixels).flatten(0, 1)
        mean = states.mean(0)
        _, values, ways = torch.linalg.svd(states - mean, full_matrices=False)
        first = self.multi_modal_projector.linear_1
        spread = values / len(states) ** 0.5
        first.weight.copy_(first.weight @ ways.T @ torch.diag(1 / (spread + RIDGE)) @ ways)
        first.bias.copy_(-first.weight @ mean)

    @torch.no_grad()
    def louder(self) -> None:
        """Lets the projector say places `LOUDER` times as loud; a decoder has to compare them."""
        ways, last = self.voice.ways, self.multi_modal_projector.linear_2
        more = torch.eye(len(last.weight)) + (LOUDER - 1) * torch.linalg.pinv(ways) @ ways
        last.weight.copy_(more @ last.weight)
        last.bias.copy_(more @ last.bias)

    def loss(self, indices: Int[Tensor, " b"]) -> Tensor:
        """Of scenes: cross-entropy of families, squared error of places, what covers a patch, and a bound.

        The bound is on the length of what is said; where all patches are to speak, on what `Voice` would not
        say.
        """
        found = [drawn(i, split="train", seed=self.seed) for i in indices.tolist()]
        given = batch(self, found)
        states = self.vision_tower(given.pixels)
        said = self.multi_modal_projector(states)
        weight = torch.tensor([GROUND, 1.0, 1.0], device=said.device)
        off = said
        if self.wide:
            off = said - self.voice(torch.cat([given.names[..., :1], given.covers], -1))
        loss: Tensor = (NEAR if self.wide else SHORT) * off.square().sum(-1).mean()
        for i in range(len(FAMILIES)):
            words = self.voice.family(i)
            scores = SHARP * said @ (words - words.mean(0)).T
            known = given.covers[..., i - 1] if i and self.wide else given.names[..., i]
            loss = loss + _missed(scores, known, None if i else weight)
        wrong = said @ self.voice.ways.T - self.voice.places
        loss = loss + PLACE * wrong.square().mean()
        for i, probe in enumerate(self.probes):
            loss = loss + COVERED * _missed(probe(states), given.covers[..., i])
        return loss


def _missed(
    scores: Float[Tensor, "b n k"], names: Int[Tensor, "b n"], weight: Tensor | None = None
) -> Tensor:
    """Cross-entropy over patches that are named; 0 where none is."""
    if not (names >= 0).any():
        return scores.sum() * 0
    return functional.cross_entropy(scores.flatten(0, 1), names.flatten(), weight, ignore_index=-1)
