"""How a score holds up as parts go missing: area under the curve, gain over late fusion."""

import numpy as np
from jaxtyping import Float

from polymodal.metrics.metric import Values


def area(p: Values, curve: Values) -> float:
    """Area under a missing-part curve, by trapezoids.

    Args:
        p: " p" shares of missing parts, rising; the house grid is 0, .1 ... 1.
        curve: " p" the score at each.

    Returns:
        In score units times the width of p: the mean score where p runs from 0 to 1.

    Raises:
        ValueError: if fewer than two points are given or p does not rise.
    """
    return float(areas(p, np.asarray(curve, dtype=np.float64)[:, None])[0])


def areas(p: Values, curves: Values) -> Float[np.ndarray, " n"]:
    """The area of each sample's own curve; their mean is the area, so differences can be paired.

    Args:
        p: " p" shares of missing parts, rising.
        curves: "p n" per-sample scores at each.

    Raises:
        ValueError: as `area`.
    """
    x, y = np.asarray(p, dtype=np.float64), np.asarray(curves, dtype=np.float64)
    if y.ndim != 2 or len(x) != len(y) or len(x) < 2 or (np.diff(x) <= 0).any():
        raise ValueError(f"two points or more with rising p are needed, got p {x.tolist()} for {y.shape}")
    return np.asarray(np.diff(x) @ (y[1:] + y[:-1]) / 2)


def effective(curve: Values, late: Values) -> float:
    """Effective robustness against late fusion: what is kept beyond a curve of its shape.

    The sum over p of f(p) - [late(p) + f(0) - late(0)] (MultiBench, Liang et al. 2021); 0 for a curve that
    falls as late fusion falls.

    Args:
        curve: " p" the score with rising shares of missing parts, the first with none.
        late: " p" late fusion's score at the same shares.

    Raises:
        ValueError: if the curves are empty or differ in length.
    """
    f, base = np.asarray(curve, dtype=np.float64), np.asarray(late, dtype=np.float64)
    if f.shape != base.shape or f.ndim != 1 or not f.size:
        raise ValueError(f"two curves over the same p are needed, got {f.shape} and {base.shape}")
    return float((f - (base + f[0] - base[0])).sum())
