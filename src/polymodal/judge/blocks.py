"""Block designs: who shares what with whom, are all linked, how efficient, in which order."""

import numpy as np
from jaxtyping import Float, Int


def concurrence(incidence: Int[np.ndarray, "units raters"]) -> tuple[int, int]:
    """Least and greatest number of raters that two units share; 0 and 0 for one unit."""
    if len(incidence) < 2:
        return 0, 0
    low, high = incidence.shape[1], 0
    wide = incidence.astype(np.float32)
    for i in range(0, len(wide), 512):
        pairs = wide[i : i + 512] @ wide.T
        others = ~np.eye(len(wide), dtype=bool)[i : i + 512]
        low, high = min(low, int(pairs[others].min())), max(high, int(pairs[others].max()))
    return low, high


def linked(incidence: Int[np.ndarray, "units raters"]) -> bool:
    """Whether every rater reaches every other through shared units."""
    raters = incidence.shape[1]
    reached = np.zeros(raters, bool)
    reached[:1] = True
    while True:
        units = (incidence[:, reached] != 0).any(1)
        wider = reached | (incidence[units] != 0).any(0)
        if (wider == reached).all():
            return bool(reached.all())
        reached = wider


def efficiency(incidence: Int[np.ndarray, "units raters"]) -> float:
    """Average efficiency factor of a block design against complete blocks of as many ratings.

    E is the harmonic mean of the non-zero eigenvalues of R^-1/2 C R^-1/2, C = R - N K^-1 N', with R the
    ratings a unit, K the block sizes and N the incidence (John and Williams 1995, ch. 2). The Fano plane has
    v(k-1) / (k(v-1)) = 7/9.

    Returns:
        In (0, 1]; NaN where there is one unit, or one without ratings.
    """
    n: Float[np.ndarray, "units raters"] = incidence[:, incidence.sum(0) > 0].astype(np.float64)
    ratings, sizes = n.sum(1), n.sum(0)
    if len(n) < 2 or not ratings.all():
        return float("nan")
    root = np.sqrt(ratings)
    matrix = np.eye(len(n)) - (n / sizes) @ n.T / np.outer(root, root)
    values = np.linalg.eigvalsh(matrix)
    kept = values[values > 1e-9]
    return float(len(kept) / (1 / kept).sum()) if len(kept) else float("nan")


def williams(n: int) -> list[list[int]]:
    """Orders in which each of n things stands at each place, and follows each other one, equally often.

    Returns:
        n rows for even n, 2n for odd n (Williams 1949).
    """
    if n < 2:
        return [[0]]
    first = [0] + [(k + 1) // 2 if k % 2 else n - k // 2 for k in range(1, n)]
    rows = [[(x + i) % n for x in first] for i in range(n)]
    return rows if n % 2 == 0 else rows + [row[::-1] for row in rows]
