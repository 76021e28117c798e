"""Whether two models are near enough to merge: distances by layer and module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import nan, sqrt

import torch

from polymodal.nn.weights.mixer import blocks
from polymodal.nn.weights.plan import Merge, Plan
from polymodal.nn.weights.sparse import BLOCK
from polymodal.nn.weights.stream import Source

STRANGE = 0.5
"""Cosine of the weights below which two models look like two initialisations: of those it is near 0, of
siblings above 0.9. A warning, no bound: none is published."""


@dataclass(frozen=True)
class Distance:
    """How far a donor is from the target in one module of one layer.

    Args:
        donor: its name.
        layer: number, None for tensors outside the layers.
        module: attention, mlp, norm or embedding.
        n: values compared.
        ratio: ‖τ_donor‖ / ‖τ_target‖; NaN without a base, as are the next two.
        cosine: between the two deltas.
        conflict: share of entries whose deltas have opposite signs, of those where neither is zero.
        distance: ‖θ_target − θ_donor‖ / ‖θ_target‖.
        likeness: cosine between the weights themselves.
    """

    donor: str
    layer: int | None
    module: str
    n: int
    ratio: float
    cosine: float
    conflict: float
    distance: float
    likeness: float

    @property
    def strange(self) -> bool:
        """Whether the weights look like another initialisation's."""
        return self.module not in ("norm",) and self.likeness < STRANGE


def diagnosis(plan: Plan) -> list[Distance]:
    """Distances of each donor by layer and module, one pass over the tensors that would be merged.

    Needs no base; with one that the plan reads, deltas are compared too.
    """
    groups: dict[tuple[int | None, str], list[Merge]] = {}
    for merge in plan.merges:
        groups.setdefault((merge.layer, merge.module), []).append(merge)
    rows = []
    for (layer, module), merges in groups.items():
        sums = torch.zeros(len(plan.donors), 9, dtype=torch.float64)
        for merge in merges:
            sums += _sums(plan, merge)
        n = sum(merge.view.size for merge in merges)
        for donor, row in zip(plan.donors, sums.tolist(), strict=True):
            rows.append(_distance(donor.name, layer, module, n, row))
    return rows


def _distance(donor: str, layer: int | None, module: str, n: int, sums: list[float]) -> Distance:
    own, theirs, both, apart, own_delta, their_delta, deltas, against, moved = sums
    return Distance(
        donor,
        layer,
        module,
        n,
        ratio=_over(sqrt(their_delta), sqrt(own_delta)),
        cosine=_over(deltas, sqrt(own_delta * their_delta)),
        conflict=_over(against, moved),
        distance=_over(sqrt(apart), sqrt(own)),
        likeness=_over(both, sqrt(own * theirs)),
    )


def _over(a: float, b: float) -> float:
    return a / b if b else nan


def _sums(plan: Plan, merge: Merge) -> torch.Tensor:
    """Squares, products and counts of one tensor, a row a donor, in the order `_distance` takes."""
    sources = [Source(model.folder, view) for model, view in plan.read_by(merge)]
    total = torch.zeros(len(merge.donors), 9, dtype=torch.float64)
    spare = [torch.empty(BLOCK) for _ in range(3)]
    try:
        for start, stop in blocks(0, merge.view.size):
            own, *others = (source.read(start, stop) for source in sources)
            base = others.pop() if merge.base is not None else None
            for row, other in zip(total, others, strict=True):
                row += torch.tensor(list(_products(own, other, base, [s[: stop - start] for s in spare])))
    finally:
        for source in sources:
            source.close()
    return total


def _products(
    own: torch.Tensor, other: torch.Tensor, base: torch.Tensor | None, spare: list[torch.Tensor]
) -> Iterator[float]:
    a, b, c = spare
    yield from (float(torch.dot(x, y)) for x, y in ((own, own), (other, other), (own, other)))
    torch.sub(own, other, out=a)
    yield float(torch.dot(a, a))
    if base is None:
        yield from [0.0] * 5
        return
    torch.sub(own, base, out=a)
    torch.sub(other, base, out=b)
    yield from (float(torch.dot(x, y)) for x, y in ((a, a), (b, b), (a, b)))
    signs = torch.sign(torch.mul(a.sign_(), b.sign_(), out=c), out=c)
    plus, total = float(signs.sum()), float(signs.abs().sum())
    yield (total - plus) / 2
    yield total


def strangers(rows: Iterable[Distance]) -> list[str]:
    """Warnings for donors most of whose matrices look like another initialisation's."""
    rows = [row for row in rows if row.module != "norm"]
    said = []
    for donor in dict.fromkeys(row.donor for row in rows):
        own = [row for row in rows if row.donor == donor]
        far = sum(row.strange for row in own)
        if far * 2 > len(own):
            said.append(
                f"{donor}: {far} of {len(own)} modules are as far from the target as an unrelated "
                "initialisation; such merges harm"
            )
    return said
