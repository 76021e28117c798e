"""The rules from the formulas: numpy, whole tensors, sorting; the second implementation of the tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float32]]


def trim(delta: Array, density: float) -> Array:
    """Keeps the ⌊density · n⌋ largest magnitudes; equal ones: lowest index first."""
    flat = delta.ravel()
    order = np.lexsort((np.arange(flat.size), -np.abs(flat)))
    kept = np.zeros_like(flat)
    chosen = order[: int(density * flat.size)]
    kept[chosen] = flat[chosen]
    return kept.reshape(delta.shape)


def ties(deltas: Sequence[Array], weights: Sequence[float], density: float, by: str) -> Array:
    """Trim, elect, and take the mean of those that agree."""
    trimmed = np.stack([trim(delta, density) for delta in deltas]).astype(np.float64)
    w = np.array(weights).reshape(-1, *[1] * (trimmed.ndim - 1))
    sums = (trimmed * w).sum(0) if by == "weight" else trimmed.sum(0)
    sign = np.where(sums >= 0, 1, -1)
    voters = trimmed * w if by == "weight" else trimmed
    agree = np.sign(voters) == sign
    over = (agree * w).sum(0) if by == "weight" else agree.sum(0)
    return ((trimmed * w * agree).sum(0) / np.where(over == 0, 1, over)).astype(np.float32)


def slerp(a: Array, b: Array, t: float) -> Array:
    """Along the great circle; along the line where the two are nearly parallel."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    cosine = (x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum())
    if abs(cosine) > 0.9995:
        return ((1 - t) * x + t * y).astype(np.float32)
    angle = np.arccos(cosine)
    return ((np.sin((1 - t) * angle) * x + np.sin(t * angle) * y) / np.sin(angle)).astype(np.float32)
