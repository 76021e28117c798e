"""Intervals at scale: group weights against a loop over resampled rows; alpha against all value pairs.

Run from the project's root: `python bench/intervals.py`. It ends with 1 where a floor is missed.
"""

import sys
import tracemalloc
from collections.abc import Callable

import krippendorff
import numpy as np
from clock import seconds

from polymodal.metrics import MACRO_F1, alpha, estimate, macro_f1, mean

ROWS, GROUPS, DRAWS, PEER_DRAWS = 100_000, 500, 2_000, 20
UNITS, PEER_UNITS = 2_000, 100


def peak(work: Callable[[], object]) -> float:
    """Most memory held at once, in MB."""
    tracemalloc.start()
    work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 1e6


def loop(score: Callable[[np.ndarray], float], rows: list[np.ndarray], draws: int) -> list[float]:
    """The usual cluster bootstrap: the rows of resampled groups, scored anew each time."""
    rng = np.random.default_rng(0)
    return [score(np.concatenate([rows[g] for g in rng.integers(0, GROUPS, GROUPS)])) for _ in range(draws)]


def against_loop(
    name: str, ours: Callable[[], object], score: Callable[[np.ndarray], float], rows: list
) -> bool:
    """One line: both times, their ratio, our memory."""
    quick, most = seconds(ours), peak(ours)
    slow = seconds(lambda: loop(score, rows, PEER_DRAWS), 1) * DRAWS / PEER_DRAWS
    print(
        f"{name}, {ROWS:,} rows, {GROUPS} groups, {DRAWS:,} draws: {quick:.3f} s, {most:.0f} MB; rows loop "
        f"{slow:.1f} s (scaled from {PEER_DRAWS} draws); {slow / quick:.0f} x (floor 20 x, 200 MB)"
    )
    return slow / quick >= 20 and most <= 200


def main() -> int:
    """Print the lines; 1 where a floor is missed."""
    rng = np.random.default_rng(0)
    group = rng.integers(0, GROUPS, ROWS)
    rows = [np.flatnonzero(group == g) for g in range(GROUPS)]
    values = rng.normal(size=ROWS)
    target = rng.integers(0, 6, ROWS)
    said = np.where(rng.random(ROWS) < 0.7, target, rng.integers(0, 6, ROWS))
    ratings = rng.normal(size=(UNITS, 1)) + rng.normal(size=(UNITS, 3))
    good = [
        against_loop(
            "mean", lambda: mean(values, group=group, draws=DRAWS), lambda r: values[r].mean(), rows
        ),
        against_loop(
            "macro-F1",
            lambda: estimate(MACRO_F1, target, said, group=group, draws=DRAWS),
            lambda r: macro_f1(target[r], said[r]),
            rows,
        ),
    ]
    quick, most = (
        seconds(lambda: alpha(ratings, level="interval"), 5),
        peak(lambda: alpha(ratings, level="interval")),
    )
    few = ratings[:PEER_UNITS]
    ours = seconds(lambda: alpha(few, level="interval"), 5)
    theirs = seconds(lambda: krippendorff.alpha(few.T, level_of_measurement="interval"), 1)
    print(
        f"interval alpha, {UNITS:,} x 3 continuous ratings: {1e3 * quick:.1f} ms, {most:.1f} MB "
        f"(floor 50 ms, 50 MB); {PEER_UNITS} x 3: {1e3 * ours:.2f} ms, "
        f"krippendorff {1e3 * theirs:.0f} ms; {theirs / ours:.0f} x"
    )
    good.append(quick < 0.05 and most < 50)
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
