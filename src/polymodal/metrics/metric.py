"""What a metric is: a score with its direction, its range and what it is a score of."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int, Shaped

Better = Literal["higher", "lower"]
Task = Literal["classes", "scores", "probabilities"]

Array = Shaped[np.ndarray, "..."]
Labels = Shaped[np.ndarray, "..."] | Sequence[Any]
"""Names a sample each: class labels or groups, as an array or a list."""
Values = Shaped[np.ndarray, "..."] | Sequence[Any]
"""Numbers or truth values, as an array or a list; NaN where there is none."""

PerSample = Callable[[Array, Array], Float[np.ndarray, " n"]]
Sums = Callable[[Array, Array, Int[np.ndarray, " n"], int], Float[np.ndarray, "g s"]]
OfSums = Callable[[Float[np.ndarray, "... s"]], Float[np.ndarray, "..."]]


@dataclass(frozen=True, slots=True)
class Metric:
    """A score of predictions against targets.

    Attributes:
        name: as written in tables.
        score: target " n" and prediction (" n", or "n k" for probabilities) to the number; an empty input
            is a ValueError.
        better: the good direction.
        low: the least value it can take.
        high: the greatest.
        task: what the prediction holds: `classes` (labels), `scores` (numbers), `probabilities` ("n k" with
            targets as class positions 0..k-1).
        per_sample: where the score is a mean over samples, the values " n"; NaN leaves a sample out.
        sums: where the score follows from sums over samples, those sums by group "g s"; with `of_sums` a
            bootstrap of groups becomes one matrix product.
        of_sums: sums "... s" to scores "...".
    """

    name: str
    score: Callable[[Array, Array], float]
    better: Better
    low: float
    high: float
    task: Task
    per_sample: PerSample | None = None
    sums: Sums | None = None
    of_sums: OfSums | None = None


def paired(target: Values, prediction: Values, name: str) -> tuple[Array, Array]:
    """Both as arrays.

    Raises:
        ValueError: if they are empty or differ in length.
    """
    a, b = np.asarray(target), np.asarray(prediction)
    if len(a) != len(b):
        raise ValueError(f"{name}: {len(a)} targets but {len(b)} predictions")
    if not len(a):
        raise ValueError(f"{name}: no samples")
    return a, b
