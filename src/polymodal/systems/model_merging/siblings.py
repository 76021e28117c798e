"""Siblings of one base: the planted toy's family, and merges of the pocket models."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn

from polymodal.envs.problems import NUMBERS
from polymodal.nn.decoder import Decoder, Seeing, prompt
from polymodal.nn.decoder.knocked import attribution, blocks, watched
from polymodal.nn.weights import Recipe
from polymodal.systems import pockets, quiz
from polymodal.systems.model_merging import data, method
from polymodal.training.loop import fit


class ToyNet(nn.Module):
    """A decoder of the planted toy, and what maps a picture to the place of a symbol's embedding.

    Args:
        spread: standard deviation of the first weights; the larger, the less training moves them by, and the
            more nearly models of one base differ in a straight line.
        seed: of the weights.
    """

    def __init__(self, spread: float, *, seed: int) -> None:
        super().__init__()
        self.decoder = Decoder.pocket(
            dim=64, layers=4, heads=2, hidden=172, vocabulary=data.SEE + 1, context=8
        )
        self.projector = nn.Linear(NUMBERS, 64)
        stream = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, weight in self.named_parameters():
                if weight.ndim == 2:
                    weight.normal_(0, 0.01 if name.startswith("projector") else spread, generator=stream)
            self.projector.bias.zero_()

    def forward(
        self, ids: Int[Tensor, "b t"], looks: Float[Tensor, "s d"] | None = None
    ) -> Float[Tensor, "b k"]:
        """Scores of the answer; pictures stand for the symbols, row by row."""
        stream = self.decoder.embed(ids)
        if looks is not None:
            stream = stream.masked_scatter((ids < NUMBERS)[..., None], self.projector(looks))
        scores: Tensor = self.decoder(embeds=stream, last=True)
        return scores[:, -1]


@dataclass(frozen=True, slots=True)
class Seen:
    """A batch of the toy: tokens, pictures in the place of its symbols or none, answers."""

    ids: Int[Tensor, "b t"]
    looks: Float[Tensor, "s d"] | None
    answers: Int[Tensor, " b"]

    def to(self, device: torch.device | str) -> Seen:
        """Itself: toys are trained where they are made."""
        return self


def seen(toy: data.Toy, asked: data.Asked, *, pictured: bool, rng: np.random.Generator) -> Seen:
    """Questions as a batch."""
    ids, answers = asked
    looks = torch.from_numpy(toy.pictures(ids, rng)).float() if pictured else None
    return Seen(torch.from_numpy(ids), looks, torch.from_numpy(answers))


def learnt(
    net: ToyNet,
    draw: Callable[[np.random.Generator], Seen],
    rates: Mapping[str, float],
    steps: int,
    *,
    seed: int,
) -> ToyNet:
    """A copy that has learnt `draw`; `rates` by the start of the parameters' names, the others stay."""
    net = copy.deepcopy(net).requires_grad_(False)
    groups = []
    for start, rate in rates.items():
        chosen = [p.requires_grad_() for name, p in net.named_parameters() if name.startswith(start)]
        groups.append({"params": chosen, "lr": rate})
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.1, fused=True)
    rng = np.random.default_rng((seed, steps))

    def wrong(net: ToyNet, given: Seen) -> Tensor:
        return nn.functional.cross_entropy(net(given.ids, given.looks), given.answers)

    def feed(epoch: int) -> Iterator[Seen]:
        return (draw(rng) for _ in range(steps))

    for _ in fit(net, feed, wrong, seed=seed, steps=steps, optimizer=optimizer, schedule="linear", warmup=20):
        pass
    return net


LAYERS = "decoder.model.layers."
TOY_LAMBDAS, TOY_SETS = (1.0, 0.85, 0.7, 0.5, 0.25, 0.0), ("held-out sums", "see", "seen sums", "text sums")
BATCH = 128
BLUR = 1.2  # noise of the branches' pictures: clear ones are still named when one module is reverted


@dataclass(frozen=True, slots=True)
class Growth:
    """How toys are trained: steps, and rates of AdamW; found on seeds 100 and 101, then left alone."""

    spread: float = 0.06
    noise: float = 0.05
    base: tuple[int, float] = (500, 2e-3)
    projector: tuple[int, float] = (200, 3e-3)
    joint: tuple[int, float, float] = (250, 1e-5, 1e-2)  # the second rate is the projector's
    donor: tuple[int, float] = (400, 2e-4)
    branch: tuple[int, float] = (250, 1e-3)


class Family:
    """A base of the toy and what is trained from it.

    Args:
        growth: how.
        seed: of the toy, the weights and the batches.
    """

    def __init__(self, growth: Growth, *, seed: int) -> None:
        self.growth, self.seed = growth, seed
        self.toy = data.Toy.planted(growth.noise, seed=seed)
        self.base = self.grown(seed)

    def copies(self, n: int, rng: np.random.Generator) -> data.Asked:
        """Symbols to name."""
        return data.names(rng.integers(NUMBERS, size=n))

    def sums(
        self, n: int, rng: np.random.Generator, table: Int[np.ndarray, "n 2"] | None = None
    ) -> data.Asked:
        """Sums of drawn pairs, of the seen ones by default."""
        table = self.toy.seen if table is None else table
        return data.sums(table[rng.integers(len(table), size=n)])

    def mixed(self, rng: np.random.Generator, *, pictured: bool) -> Seen:
        """Naming and sums of seen pairs, half each."""
        one, two = self.copies(BATCH // 2, rng), self.sums(BATCH // 2, rng)
        both = np.concatenate([one[0], two[0]]), np.concatenate([one[1], two[1]])
        return seen(self.toy, both, pictured=pictured, rng=rng)

    def all_sums(self, rng: np.random.Generator) -> Seen:
        """Sums of all pairs in symbols."""
        both = np.concatenate([self.toy.seen, self.toy.held])
        return seen(self.toy, self.sums(BATCH, rng, both), pictured=False, rng=rng)

    def named(self, rng: np.random.Generator, *, pictured: bool) -> Seen:
        """Naming alone."""
        return seen(self.toy, self.copies(BATCH, rng), pictured=pictured, rng=rng)

    def grown(self, start: int) -> ToyNet:
        """A base from weights of its own: it copies, and adds the seen pairs."""
        steps, rate = self.growth.base
        draw = partial(self.mixed, pictured=False)
        return learnt(ToyNet(self.growth.spread, seed=start), draw, {"decoder.": rate}, steps, seed=start)

    def target(self) -> ToyNet:
        """It sees: the projector alone, then together with the decoder on naming and seen pairs."""
        steps, rate = self.growth.projector
        draw = partial(self.named, pictured=True)
        net = learnt(self.base, draw, {"projector.": rate}, steps, seed=self.seed + 1)
        steps, slow, fast = self.growth.joint
        rates = {"decoder.": slow, "projector.": fast}
        return learnt(net, partial(self.mixed, pictured=True), rates, steps, seed=self.seed + 2)

    def donor(self, base: ToyNet | None = None, *, copying: bool = False) -> ToyNet:
        """It adds all pairs, or has copied as long; from the base, or from a base of its own."""
        steps, rate = self.growth.donor
        draw = partial(self.named, pictured=False) if copying else self.all_sums
        return learnt(base or self.base, draw, {"decoder.": rate}, steps, seed=self.seed + 3)

    def branch(self, layers: Sequence[int], *, pictured: bool) -> ToyNet:
        """It learns in some layers only: to see through a projector drawn by chance, or to add all pairs."""
        steps, rate = self.growth.branch
        base, draw = copy.deepcopy(self.base), self.all_sums
        if pictured:
            draw = partial(self.named, pictured=True)
            stream = torch.Generator().manual_seed(self.seed)
            with torch.no_grad():
                base.projector.weight.normal_(0, self.growth.spread, generator=stream)
        return learnt(base, draw, {f"{LAYERS}{i}.": rate for i in layers}, steps, seed=self.seed + 4)

    def told(self, net: ToyNet, name: str) -> dict[str, NDArray[np.float64]]:
        """`hits` under the set's name."""
        return {name: self.hits(net, name)}

    def hits(self, net: ToyNet, name: str) -> NDArray[np.float64]:
        """Whether each item of a set is answered right; items are the same for all nets of a seed."""
        rng = np.random.default_rng((self.seed, 7))
        tables = {
            "held-out sums": np.tile(self.toy.held, (8, 1)),
            "seen sums": np.tile(self.toy.seen, (8, 1)),
        }
        if name in ("see", "see shuffled", "see blank"):
            asked = self.copies(1024, rng)
        else:
            asked = data.sums(tables.get(name, self.toy.held))
        given = seen(self.toy, asked, pictured=name != "text sums", rng=rng)
        looks = given.looks
        if name == "see shuffled" and looks is not None:
            looks = looks[torch.from_numpy(rng.permutation(len(looks)))]
        elif name == "see blank" and looks is not None:
            looks = torch.zeros_like(looks)
        with torch.no_grad():
            hit: Tensor = net(given.ids, looks).argmax(-1) == given.answers
        return np.asarray(hit.numpy(), np.float64)


def planted(number: int) -> dict[str, NDArray[np.float64]]:
    """A seed's toys: hits of merges and controls by `merge|set`, drops of branches by `place|branch`."""
    torch.set_num_threads(1)
    family = Family(Growth(), seed=number)
    target, donor = family.target(), family.donor()
    foreign = family.donor(family.grown(number + 1000))
    nets = {f"λ {w:g}": pockets.joined(target, donor, Recipe(weights=(w,))) for w in TOY_LAMBDAS}
    for part, kept in (("early", ("*layers.[23].*", "*norm.weight")), ("late", ("*layers.[01].*",))):
        rules = tuple((glob, 1.0) for glob in kept)
        nets[part] = pockets.joined(target, donor, Recipe(weights=(0.5,), rules=rules))
    for name, other in (
        ("base", family.base),
        ("copying donor", family.donor(copying=True)),
        ("foreign donor", foreign),
    ):
        nets[name] = pockets.joined(target, other, Recipe(weights=(0.5,)))
    out = {f"{key}|{name}": family.hits(net, name) for key, net in nets.items() for name in TOY_SETS}
    out |= {f"λ 1|{name}": family.hits(target, name) for name in ("see shuffled", "see blank")}
    out |= {
        f"likeness|{name}": likeness(target, net)
        for name, net in (("sibling", donor), ("foreign donor", foreign))
    }
    family.toy = replace(family.toy, noise=BLUR)
    for name, layers in (("sees", (0, 1)), ("adds", (2, 3))):
        net, asked = family.branch(layers, pictured=name == "sees"), "see" if name == "sees" else "text sums"
        score = partial(family.told, net, asked)
        drops = attribution(net, score, modes=["revert"], base=family.base)
        out[f"place|{name}"] = np.sum(list(drops.values()), axis=0)
    return out


def likeness(one: nn.Module, two: nn.Module) -> NDArray[np.float64]:
    """Cosine of two nets' matrices, layer by layer."""
    pairs = zip(blocks(one), blocks(two), strict=True)
    flat = (
        [torch.cat([p.detach().flatten() for p in block.parameters() if p.ndim == 2]) for block in pair]
        for pair in pairs
    )
    return np.array([float(nn.functional.cosine_similarity(a, b, dim=0)) for a, b in flat])


@cache
def target() -> Seeing:
    """pocket-vlm, loaded once; not to be changed."""
    return Seeing.from_pretrained("pocket-vlm")


def merged(how: pockets.How) -> Seeing:
    """A merge of the pocket models in memory."""
    base = pockets.sibling("pocket-lm")
    donor = pockets.sibling(how.donor)
    if how.protect:
        donor = spared(target(), donor, base, how.protect)
    recipe = Recipe(how.method, (how.weight,), density=how.density)
    net: Seeing = pockets.joined(target(), donor, recipe, base, prefix="language_model.")
    return net.eval()


def spared(target: Seeing, donor: Decoder, base: Decoder, energy: float) -> Decoder:
    """The donor with what its deltas would do to activations at the patches of 50 pictures taken out."""
    asked = quiz.items("perception", 50, split="val", seed=0)
    ids, _ = prompt.asked(target.words, [item.prompt for item in asked], target.patches)
    looks = torch.from_numpy(quiz.looked_at(asked, target)).float()
    with torch.no_grad(), watched(target, ids == target.words.image) as seen:
        target(looks, ids)
    donor = copy.deepcopy(donor)
    with torch.no_grad():
        for i, (layer, old) in enumerate(zip(blocks(donor), blocks(base), strict=True)):
            before = dict(old.named_parameters())
            for name, weight in layer.named_parameters():
                if weight.ndim == 2:
                    projector = method.subspace(
                        torch.cat(seen[f"{i}.{name.removesuffix('.weight')}"]), energy
                    )
                    weight.copy_(before[name] + method.protected(weight - before[name], projector))
    return donor
