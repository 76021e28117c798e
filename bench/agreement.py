"""Judges at scale: a million labels in, pivoted and agreed upon; a corrected rate against garak's bootstrap.

Run from the project's root: `python bench/agreement.py [ROWS]`. It ends with 1 where a floor is missed. The
labels are made in a process of their own, whose peak memory counts with the interpreter and all imports.
"""

import resource
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
from clock import seconds

from polymodal.judge import Case, Verdict
from polymodal.judge.calibration import Correction, Pair
from polymodal.judge.labels import Labels
from polymodal.judge.panel import UNIT
from polymodal.metrics import alpha

ROWS, JUDGES = 1_000_000, 4
N, DRAWS, SE, SP = 980, 10_000, (51, 60), (57, 60)


def peak() -> float:
    """Most memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def judged(rows: int) -> Iterator[tuple[Case, Verdict]]:
    """Four judges on each case; 2 % of the verdicts are invalid."""
    rng = np.random.default_rng(0)
    for i in range(rows // JUDGES):
        case = Case(f"s|{i}|mt", f"item-{i:07d}", f"tile-{i // 3:06d}", f"model-{i % 5}", "mt", ())
        grade = rng.integers(0, 100)
        for j, (noise, fails) in enumerate(zip(rng.normal(0, 10, JUDGES), rng.random(JUDGES), strict=True)):
            name = f"judge-{j}@0123456789ab"
            if fails < 0.02:
                yield case, Verdict({}, False, "unparsable", judge=name)
            else:
                yield case, Verdict({"grade": float(grade + noise)}, judge=name)


def at_scale(rows: int) -> int:
    """Stream the verdicts into labels, pivot them, take alpha; print times and the peak."""
    before = peak()
    start = time.perf_counter()
    labels = Labels.of(judged(rows), scores=("grade",), seed=0)
    made = time.perf_counter()
    table = labels.pivot("grade", rows=UNIT, columns="judge")
    pivoted = time.perf_counter()
    found = alpha(table.values, level="interval")
    agreed = time.perf_counter()
    print(
        f"{len(labels):,} labels by {JUDGES} judges: streamed in {made - start:.1f} s, pivoted to "
        f"{table.values.shape[0]:,} x {table.values.shape[1]} in {pivoted - made:.1f} s, interval alpha "
        f"{found:.4f} in {agreed - pivoted:.2f} s; at most {peak():,.0f} MB, {before:,.0f} MB of it imports "
        "(floor 1,000 MB)"
    )
    return 0 if peak() < 1000 else 1


def resampled(results: np.ndarray, se: float, sp: float) -> tuple[float, float]:
    """What garak's interval does: resample the outcomes in a loop, correct each mean, take percentiles.

    It takes the two rates of the judge as known.
    """
    found = np.empty(DRAWS)
    for i in range(DRAWS):
        p = np.random.choice(results, size=len(results), replace=True).mean()
        found[i] = np.clip((p + sp - 1) / (se + sp - 1), 0, 1)
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)


def against_garak() -> int:
    """One line: both intervals, both times, their ratio."""
    values = np.array([1.0] * 176 + [0.0] * (N - 176))
    (tp, n1), (tn, n0) = SE, SP
    said = [(1, 1, tp), (1, 0, n1 - tp), (0, 0, tn), (0, 1, n0 - tn)]
    pairs = [Pair("s", "i", "", human, judge) for human, judge, n in said for _ in range(n)]
    correction = Correction(how="rogan_gladen", score="x", judge="j@1", pairs=tuple(pairs))
    groups = np.array([f"tile-{i % 911}" for i in range(N)])
    ours = seconds(lambda: correction.rate(values), 20)
    grouped = seconds(lambda: correction.rate(values, groups, draws=DRAWS), 3)
    theirs = seconds(lambda: resampled(values, tp / n1, tn / n0), 3)
    found, clustered = correction.rate(values), correction.rate(values, groups, draws=DRAWS)
    low, high = resampled(values, tp / n1, tn / n0)
    ratio = theirs / ours
    print(
        f"corrected rate, n = {N}: {1e6 * ours:.0f} us in closed form [{found.low:.4f}, {found.high:.4f}], "
        f"which carries the error of the judge's own rates; garak's loop of {DRAWS:,} draws {theirs:.2f} s "
        f"[{low:.4f}, {high:.4f}], which does not; {ratio:,.0f} x (floor 50 x)"
    )
    print(
        f"the same by {len(set(groups))} groups, {DRAWS:,} draws: {grouped:.2f} s "
        f"[{clustered.low:.4f}, {clustered.high:.4f}]; {theirs / grouped:.1f} x"
    )
    return 0 if ratio >= 50 else 1


def main() -> int:
    """Both parts; 1 where a floor is missed."""
    rows = sys.argv[1] if len(sys.argv) > 1 else str(ROWS)
    scale = subprocess.run([sys.executable, __file__, rows, "here"], check=False).returncode
    return max(scale, against_garak())


if __name__ == "__main__":
    sys.exit(at_scale(int(sys.argv[1])) if sys.argv[2:] == ["here"] else main())
