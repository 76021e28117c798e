"""Where abilities sit in a decoder, what a merge may not touch, and how far to merge."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from polymodal.metrics import Estimate, difference
from polymodal.metrics.resample import weights

Drops = Float[np.ndarray, "l i"]


def centre(drops: Drops, *, seed: int, draws: int = 2000) -> Estimate:
    """Centre of mass of what is lost, 0 the first layer and 1 the last; bootstrap over items.

    c = sum of l max(D_l, 0) / ((L - 1) sum of max(D_l, 0)), D_l the mean drop at layer l.
    """
    n = drops.shape[1]
    found = _centre(drops.mean(1))
    if not np.isfinite(found):
        return Estimate(mean=np.nan, low=np.nan, high=np.nan, n=n, n_valid=0, method="bootstrap",
                        reason="no layer loses anything")  # fmt: skip
    drawn = np.concatenate([_centre(w @ drops.T / n) for w in weights(n, draws=draws, seed=seed)])
    low, high = np.nanquantile(drawn, (0.025, 0.975))
    return Estimate(mean=float(found), low=float(low), high=float(high), n=n, n_valid=n, method="bootstrap")


def centres_apart(one: Drops, two: Drops, *, seed: int, draws: int = 2000) -> Estimate:
    """Centre of mass of `one` minus that of `two`, their items resampled apart."""
    if not np.isfinite(_centre(one.mean(1)) - _centre(two.mean(1))):
        return centre(np.zeros_like(one), seed=seed)
    sides = []
    for part, drops in enumerate((one, two)):
        chunks = weights(drops.shape[1], draws=draws, seed=seed + part)
        sides.append(np.concatenate([_centre(w @ drops.T / drops.shape[1]) for w in chunks]))
    low, high = np.nanquantile(sides[0] - sides[1], (0.025, 0.975))
    mean = float(_centre(one.mean(1)) - _centre(two.mean(1)))
    n = one.shape[1] + two.shape[1]
    return Estimate(mean=mean, low=float(low), high=float(high), n=n, n_valid=n, method="bootstrap")


def _centre(drops: Any) -> Any:
    """Of mean drops "... l"; NaN where nothing is lost."""
    lost = np.maximum(drops, 0)
    place = np.arange(lost.shape[-1]) / max(1, lost.shape[-1] - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (lost * place).sum(-1) / lost.sum(-1)


def subspace(inputs: Float[Tensor, "n d"], energy: float = 0.95) -> Float[Tensor, "d d"]:
    """Projector on the fewest directions that hold this share of the inputs' squared length."""
    _, sizes, rows = torch.linalg.svd(inputs.double(), full_matrices=False)
    share = sizes.square().cumsum(0) / sizes.square().sum()
    rank = int((share < energy - 1e-12).sum()) + 1
    kept = rows[:rank]
    projector: Tensor = (kept.T @ kept).to(inputs.dtype)
    return projector


def protected(delta: Float[Tensor, "o d"], projector: Float[Tensor, "d d"]) -> Float[Tensor, "o d"]:
    """A donor's delta that leaves a module's outputs on the protected inputs as they are: τ - τP."""
    return delta - delta @ projector


def chosen(
    scores: Mapping[float, NDArray[np.float64]], *, seed: int, margin: float = 0.0
) -> tuple[float | None, dict[float, Estimate]]:
    """The smallest change whose gain over the target is sure: the largest weight below 1 with low > margin.

    Args:
        scores: items' scores by weight on the target; 1 is the target itself.
        seed: of the bootstrap.
        margin: what the gain must exceed.

    Returns:
        The weight, None for "do not merge"; and the paired gains by weight.

    Raises:
        ValueError: the target's own scores are not among them.
    """
    if 1.0 not in scores:
        raise ValueError(f"the target itself (weight 1) has no scores; given: {sorted(scores)}")
    gains = {w: difference(None, s, scores[1.0], seed=seed) for w, s in scores.items() if w != 1.0}
    sure = [w for w, gain in gains.items() if gain.low > margin]
    return (max(sure) if sure else None), gains
