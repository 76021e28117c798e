"""How a merge is made: the method, the weights over models, depth and names."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase
from math import isfinite
from typing import Any

METHODS = {
    "linear": "weighted mean; the base cancels and is never read",
    "task_arithmetic": "base + weighted sum of deltas",
    "ties_weight": "trim, elect the sign of the weighted sum, divide by the agreeing weights (mergekit)",
    "ties_count": "trim, elect the sign of the plain sum, divide by the number that agree (PEFT, the paper)",
    "dare_linear": "drop deltas at random, rescale the rest, task_arithmetic",
    "dare_ties": "drop deltas at random, rescale the rest, elect and divide as ties_count",
    "slerp": "along the great circle between two tensors",
    "layer_swap": "the first layers stay the target's, the rest is linear",
}
BASED = ("task_arithmetic", "ties_weight", "ties_count", "dare_linear", "dare_ties")
SPARSE = ("ties_weight", "ties_count", "dare_linear", "dare_ties")


@dataclass(frozen=True)
class Recipe:
    """What to do with two or more models.

    Args:
        method: a key of METHODS.
        weights: the target's weight λ, the donors share 1 − λ evenly; or one weight a model, target first.
            λ = 1 keeps the target's tensor to the bit under every method.
        depth: target weights at equal distances over the layers, interpolated; in place of `weights`.
        density: share of each delta that is kept (ties, dare).
        rules: (glob over the target's tensor names, target weight); the first that matches wins.
        swap: last layer that stays the target's (layer_swap).
        embeddings: "keep", or "merge" row by row through equal token strings.
        allow: globs of refusals that are turned into "kept from the target".
        seed: of the random masks of dare.

    Raises:
        ValueError: a value out of range, or words that do not go together.
    """

    method: str = "linear"
    weights: tuple[float, ...] = (0.9,)
    depth: tuple[float, ...] = ()
    density: float = 0.2
    rules: tuple[tuple[str, float], ...] = ()
    swap: int = 5
    embeddings: str = "keep"
    allow: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            near = get_close_matches(self.method, METHODS, 1)
            if self.method == "ties":
                near = ["ties_weight (mergekit's) or ties_count (PEFT's)"]
            hint = f"; did you mean {near[0]}?" if near else "."
            raise ValueError(f"unknown method {self.method!r}{hint} Known: {', '.join(METHODS)}")
        if not 0 < self.density <= 1:
            raise ValueError(f"density is a share above 0 and up to 1, not {self.density}")
        if self.embeddings not in ("keep", "merge"):
            raise ValueError(f"embeddings is keep or merge, not {self.embeddings!r}")
        given = [*self.weights, *self.depth, *(weight for _, weight in self.rules)]
        if not self.weights or not all(isfinite(weight) for weight in given):
            raise ValueError(f"weights are finite numbers, at least one; got {given}")

    @property
    def sparse(self) -> bool:
        """Whether deltas are trimmed or dropped, and so must be taken one by one."""
        return self.method in SPARSE

    def warnings(self, donors: int) -> list[str]:
        """What is unusual but allowed with this number of donors.

        Raises:
            ValueError: the number of weights or donors does not fit the method.
        """
        if len(self.weights) not in (1, donors + 1):
            raise ValueError(
                f"{len(self.weights)} weights for a target and {donors} donors: give one (the target's; the "
                f"donors share the rest) or {donors + 1} (the target's, then one a donor)"
            )
        if self.method == "slerp" and (donors != 1 or len(self.weights) != 1):
            raise ValueError("slerp takes one donor and one weight (the target's, from 0 to 1)")
        given = [*self.weights, *self.depth, *(weight for _, weight in self.rules)]
        outside = [weight for weight in given if not 0 <= weight <= 1]
        if outside and self.method == "slerp":
            raise ValueError(f"slerp weights lie from 0 to 1, not {outside[0]}")
        said = [f"weight {weight:g} lies outside 0 to 1: this extrapolates" for weight in outside]
        total = sum(self.weights)
        if len(self.weights) > 1 and self.method in ("linear", "layer_swap") and abs(total - 1) > 1e-9:
            said.append(f"the weights sum to {total:g}, not 1: the merged tensors are scaled")
        return said

    def weights_of(self, name: str, layer: int | None, depth: int, donors: int) -> tuple[float, ...]:
        """Weights of the target and each donor for one tensor.

        Args:
            name: the tensor's name in the target.
            layer: its layer, None for those without a number.
            depth: number of layers.
            donors: number of donors.
        """
        own, rest = self.weights[0], self.weights[1:]
        shares = tuple(weight / sum(rest) for weight in rest) if sum(rest) else (1 / donors,) * donors
        rule = self.rule_of(name)
        if rule is not None:
            own, rest = self.rules[rule][1], ()
        elif self.method == "layer_swap" and layer is not None and layer <= self.swap:
            own, rest = 1.0, ()
        elif self.depth:
            own, rest = self._at(1.0 if layer is None else layer / max(1, depth - 1)), ()
        return own, *(rest or tuple((1 - own) * share for share in shares))

    def rule_of(self, name: str) -> int | None:
        """Index of the first rule that matches a tensor's name."""
        return next((i for i, (glob, _) in enumerate(self.rules) if fnmatchcase(name, glob)), None)

    def allows(self, name: str) -> bool:
        """Whether a refusal of this name is turned into "kept"."""
        return any(fnmatchcase(name, glob) for glob in self.allow)

    def _at(self, share: float) -> float:
        place = share * (len(self.depth) - 1)
        low = min(int(place), max(0, len(self.depth) - 2))
        high = min(low + 1, len(self.depth) - 1)
        return self.depth[low] + (self.depth[high] - self.depth[low]) * (place - low)

    def to_json(self) -> dict[str, Any]:
        """All fields, as written into merge.json."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]


def recipe(method: str = "linear", weight: float | Sequence[float] = 0.9, **others: Any) -> Recipe:
    """A Recipe from one weight or several.

    Args:
        method: a key of METHODS.
        weight: the target's, or one a model with the target first.
        **others: further fields of Recipe.
    """
    weights = (float(weight),) if isinstance(weight, int | float) else tuple(float(w) for w in weight)
    return Recipe(method, weights, **others)
