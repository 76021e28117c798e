"""Numbers of human studies at scale: Bradley-Terry against choix, agreement's interval against krippendorff.

Run from the project's root: `python bench/trust.py`. It ends with 1 where a floor is missed.
"""

import sys

import choix
import krippendorff
import numpy as np
from clock import seconds

from polymodal.metrics import advised, bradley_terry, estimate_alpha, reliance

SUBJECTS, GAMES = 20, 20_000
UNITS, RATERS, DRAWS, PEER_DRAWS = 400, 5, 2_000, 100
PEOPLE, TRIALS = 100, 60


def preferences(rng: np.random.Generator) -> bool:
    """Strengths of 20 subjects from 20,000 comparisons, both from a table of who beat whom."""
    theta = rng.normal(size=SUBJECTS)
    first = rng.integers(SUBJECTS, size=GAMES)
    second = (first + rng.integers(1, SUBJECTS, size=GAMES)) % SUBJECTS
    won = rng.random(GAMES) < 1 / (1 + np.exp(theta[second] - theta[first]))
    pairs = list(
        zip(np.where(won, first, second).tolist(), np.where(won, second, first).tolist(), strict=True)
    )
    winners, losers = ([f"model-{pair[side]:02d}" for pair in pairs] for side in (0, 1))
    ones = np.ones(GAMES)
    ours = seconds(lambda: bradley_terry(winners, losers, ones, draws=0))
    peer = seconds(lambda: choix.ilsr_pairwise(SUBJECTS, pairs, alpha=1e-6))
    reference = choix.ilsr_pairwise(SUBJECTS, pairs, alpha=1e-6)
    mine = np.array([one.mean for one in bradley_terry(winners, losers, ones, draws=0).theta.values()])
    gap = float(np.abs(mine - (reference - reference.mean())).max())
    print(
        f"Bradley-Terry, {SUBJECTS} subjects, {GAMES:,} comparisons by name: {ours * 1e3:.1f} ms; "
        f"choix.ilsr_pairwise {peer * 1e3:.1f} ms; {peer / ours:.1f} x (floor 5 x), apart by {gap:.1e}"
    )
    return peer / ours >= 5 and gap <= 1e-5


def agreement(rng: np.random.Generator) -> bool:
    """Interval of ordinal alpha on 400 units rated by 5."""
    table = np.clip(rng.integers(1, 5, UNITS)[:, None] + rng.integers(-1, 2, (UNITS, RATERS)), 1, 4)
    ratings = table.astype(float)
    ours = seconds(lambda: estimate_alpha(ratings, level="ordinal", draws=DRAWS), 3)

    def loop() -> None:
        draws = np.random.default_rng(0)
        for _ in range(PEER_DRAWS):
            some = ratings[draws.integers(UNITS, size=UNITS)]
            krippendorff.alpha(reliability_data=some.T, level_of_measurement="ordinal")

    peer = seconds(loop, 2) * DRAWS / PEER_DRAWS
    print(
        f"ordinal alpha, {UNITS} x {RATERS}, {DRAWS:,} draws: {ours:.3f} s (floor .2 s); krippendorff in a "
        f"loop {peer:.2f} s (scaled from {PEER_DRAWS} draws); {peer / ours:.1f} x (floor 3 x)"
    )
    return ours <= 0.2 and peer / ours >= 3


def trials(rng: np.random.Generator) -> bool:
    """All statistics of reliance with two-way intervals on 100 people x 60 trials, for the record."""
    n = PEOPLE * TRIALS
    truth, advice, own = (rng.integers(4, size=n) for _ in range(3))
    final = np.where(rng.random(n) < 0.5, advice, own)
    rater, item = np.repeat(np.arange(PEOPLE), TRIALS), rng.integers(240, size=n)
    counts = advised(truth, advice, own, final, rater=rater, item=item)
    took = seconds(lambda: reliance(counts, draws=1000), 2)
    print(f"reliance, {n:,} trials, 1,000 draws, 21 statistics: {took:.2f} s (floor 2 s)")
    return took <= 2


def main() -> int:
    """Print the lines; 1 where a floor is missed."""
    rng = np.random.default_rng(0)
    return 0 if all([preferences(rng), agreement(rng), trials(rng)]) else 1


if __name__ == "__main__":
    sys.exit(main())
