"""Near-duplicates among 20,000 x 300 floats: blocked products against scikit-learn's brute neighbours.

python bench/duplicates.py [ROWS] prints seconds and peak memory of both, in one run, and the ratio. Each side
runs in a process of its own with one thread, on the same rows, three times in turn; the fastest counts.
"""

import json
import os
import resource
import subprocess
import sys
import time

import numpy as np

ROWS, DIM, THRESHOLD, PLANTED = 20_000, 300, 0.9995, 50


def rows(n: int) -> np.ndarray:
    """Normal rows, of which 50 have a near copy."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, DIM)).astype(np.float32)
    x[n - PLANTED :] = x[:PLANTED] + rng.normal(size=(PLANTED, DIM)).astype(np.float32) * 0.005
    return x


def ours(x: np.ndarray) -> int:
    from polymodal.media.likeness import near_vectors

    return len(near_vectors(x, THRESHOLD))


def sklearns(x: np.ndarray) -> int:
    """Cosine as the distance of unit rows, which is the fast path there."""
    from sklearn.neighbors import NearestNeighbors

    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    radius = float(np.sqrt(2 * (1 - THRESHOLD)))
    found = NearestNeighbors(algorithm="brute", radius=radius).fit(unit)
    near = found.radius_neighbors(unit, return_distance=False)
    return (sum(map(len, near)) - len(x)) // 2


SIDES = {"polymodal": ours, "scikit-learn": sklearns}


def once(side: str, n: int) -> dict[str, float]:
    """One side in this process: pairs, seconds, CPU seconds, and the peak of the whole process in MB."""
    SIDES[side](rows(600))  # imports and thread pools
    x = rows(n)
    start, busy = time.perf_counter(), time.process_time()
    pairs = SIDES[side](x)
    seconds, cpu = time.perf_counter() - start, time.process_time() - busy
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"pairs": pairs, "seconds": seconds, "cpu": cpu, "peak": peak}


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    best: dict[str, dict[str, float]] = {}
    for _ in range(3):
        for side in SIDES:
            command = [sys.executable, __file__, str(n), side]
            env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            run = json.loads(subprocess.run(command, check=True, capture_output=True, env=env).stdout)
            best[side] = min(best.get(side, run), run, key=lambda each: each["seconds"])
    for side, run in best.items():
        times = f"{run['seconds']:6.2f} s, {run['cpu']:6.2f} s of CPU"
        print(f"{side:13} {run['pairs']:.0f} pairs  {times}  at most {run['peak']:,.0f} MB")
    we, they = (best[side] for side in SIDES)
    print(f"{n:,} x {DIM}: {they['seconds'] / we['seconds']:.1f} times as fast (asked: 3),")
    print(f"{they['cpu'] / we['cpu']:.1f} times by CPU, {we['peak']:,.0f} MB (asked: 500)")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(once(sys.argv[2], int(sys.argv[1]))))
    else:
        main()
